//! Rows of activations that wait for their passes: in memory, or in a file that is gone with them.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// Values that are written or read together.
const VALUES_AT_ONCE: usize = 1 << 16;

/// Rows of activations in a file without a name, in the system's folder for temporary files.
#[derive(Debug)]
pub struct RowFile {
    file: Mutex<File>,
    values: usize,
}

impl RowFile {
    /// A file without rows.
    ///
    /// # Errors
    /// [`Error::File`] naming the folder, when it cannot be made there.
    pub fn create() -> Result<Self> {
        Ok(Self { file: Mutex::new(tempfile::tempfile().map_err(|error| failed(&error))?), values: 0 })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.values
    }

    /// Whether there is no value yet.
    pub fn is_empty(&self) -> bool {
        self.values == 0
    }

    /// Adds values after those that are there.
    ///
    /// # Errors
    /// [`Error::File`] naming the folder, when it is full.
    pub fn append(&mut self, values: &[f32]) -> Result<()> {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::End(0)).map_err(|error| failed(&error))?;
        for part in values.chunks(VALUES_AT_ONCE) {
            let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
            file.write_all(&bytes).map_err(|error| failed(&error))?;
        }
        self.values += values.len();
        Ok(())
    }

    /// Adds the values at `range` to `out`, bit by bit as they were written.
    fn read(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(4 * range.start as u64)).map_err(|error| failed(&error))?;
        let mut bytes = vec![0; 4 * range.len().min(VALUES_AT_ONCE)];
        let mut left = range.len();
        while left > 0 {
            let count = left.min(VALUES_AT_ONCE);
            let bytes = &mut bytes[..4 * count];
            file.read_exact(bytes).map_err(|error| failed(&error))?;
            out.extend(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)));
            left -= count;
        }
        Ok(())
    }
}

fn failed(error: &std::io::Error) -> Error {
    Error::File {
        path: std::env::temp_dir(),
        problem: format!(
            "activations beyond --memory cannot be kept there ({error}); give more --memory, or name a folder with room in TMPDIR"
        ),
    }
}

/// Values of packed rows, wherever they are.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// In memory.
    Memory(&'a [f32]),
    /// In a file.
    File(&'a RowFile),
}

impl Values<'_> {
    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            Self::Memory(values) => values.len(),
            Self::File(file) => file.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Adds the values at `range` to `out`.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read.
    ///
    /// # Panics
    /// When there are no such values in memory.
    pub fn copy(self, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Memory(values) => out.extend_from_slice(&values[range]),
            Self::File(file) => file.read(range, out)?,
        }
        Ok(())
    }
}

impl<'a> From<&'a [f32]> for Values<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::Memory(values)
    }
}

impl<'a> From<&'a Vec<f32>> for Values<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Self::Memory(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More values than are written at once, negative zero and numbers below the normal ones among them.
    #[test]
    fn a_file_gives_back_the_bits_it_was_given() {
        let values: Vec<f32> =
            (0..u32::try_from(2 * VALUES_AT_ONCE).unwrap() + 7).map(|i| f32::from_bits(i * 7919)).collect();
        let values = [&[-0.0, f32::MIN_POSITIVE / 4.0], values.as_slice()].concat();
        let mut file = RowFile::create().unwrap();
        assert!(file.is_empty());
        for part in values.chunks(1000) {
            file.append(part).unwrap();
        }
        assert_eq!(file.len(), values.len());
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        for range in [0..values.len(), 5..5, 3..90_000, values.len() - 1..values.len()] {
            let mut read = vec![1.5];
            Values::File(&file).copy(range.clone(), &mut read).unwrap();
            assert_eq!(bits(&read[1..]), bits(&values[range.clone()]), "{range:?}");
            assert_eq!(read[0].to_bits(), 1.5_f32.to_bits());
        }
        let message = Values::File(&file).copy(0..values.len() + 1, &mut Vec::new()).unwrap_err().to_string();
        assert!(message.contains("TMPDIR") && message.contains("--memory"), "{message}");
    }
}

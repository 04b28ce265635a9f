//! Where results lie: records of units and distances (small, committed), predictions and adapters (large, not).

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bayeslora_host::{check_writable, read, sha256_hex, write_atomically};
use ndarray::Array3;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{CompactFormatter, Formatter};
use serde_json::{Serializer, Value};

use crate::distances::DistancesRecord;
use crate::error::{Error, Result};
use crate::record::{ComparisonRecord, SCHEMA, UnitRecord};

/// The results folder of one profile of an experiment.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// SHA-256 of a value's JSON text, in hex.
pub fn key_of(value: &Value) -> String {
    sha256_hex(value.to_string().as_bytes())
}

/// What of a key names a folder.
fn short(key: &str) -> &str {
    &key[..16.min(key.len())]
}

impl Store {
    /// The results in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Refuses a folder that cannot be written before hours are spent on what would go there.
    ///
    /// # Errors
    /// [`bayeslora_host::Error::Folder`] naming the folder.
    pub fn check_writable(&self) -> Result<()> {
        Ok(check_writable(&self.folder)?)
    }

    /// Where reports go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Scratch folder of a unit: its predictions, or the checkpoints of a trial.
    pub fn run_folder(&self, key: &str) -> PathBuf {
        self.folder.join("runs").join(short(key))
    }

    /// Scratch folder of a fit, which several units may read: checkpoints, then adapters.
    pub fn fit_folder(&self, key: &str) -> PathBuf {
        self.folder.join("fits").join(short(key))
    }

    fn unit_path(&self, method: &str, seed: u64, key: &str) -> PathBuf {
        self.folder.join("units").join(format!("{method}-seed{seed}-{}.json", &key[..8.min(key.len())]))
    }

    /// The record of a unit, if it is there and its key is this one.
    ///
    /// # Errors
    /// [`Error::Store`] for a record that cannot be read or has another layout.
    pub fn unit(&self, method: &str, seed: u64, key: &str) -> Result<Option<UnitRecord>> {
        let path = self.unit_path(method, seed, key);
        let Some(record) = read_json::<UnitRecord>(&path)? else { return Ok(None) };
        check_schema(&path, record.schema)?;
        Ok((record.key == key).then_some(record))
    }

    /// Every unit record there is, in the order of their file names.
    ///
    /// # Errors
    /// [`Error::Store`] for a record that cannot be read or has another layout.
    pub fn units(&self) -> Result<Vec<UnitRecord>> {
        read_all(&self.folder.join("units"), |record: &UnitRecord| record.schema)
    }

    /// Every comparison there is, in the order of their file names: tests made before records had columns of texts.
    ///
    /// # Errors
    /// [`Error::Store`] for a record that cannot be read or has another layout.
    pub fn comparisons(&self) -> Result<Vec<ComparisonRecord>> {
        read_all(&self.folder.join("comparisons"), |record: &ComparisonRecord| record.schema)
    }

    /// Writes the record of a unit.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_unit(&self, record: &UnitRecord) -> Result<()> {
        write_record(&self.unit_path(&record.method, record.seed, &record.key), record)
    }

    /// Every record of distances there is, in the order of the file names.
    ///
    /// # Errors
    /// [`Error::Store`] for a record that cannot be read or has another layout.
    pub fn distances(&self) -> Result<Vec<DistancesRecord>> {
        read_all(&self.folder.join("distances"), |record: &DistancesRecord| record.schema)
    }

    /// Writes the distances of an experiment's test texts.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_distances(&self, record: &DistancesRecord) -> Result<()> {
        let name = format!("{}.json", &record.key[..8.min(record.key.len())]);
        write_record(&self.folder.join("distances").join(name), record)
    }

    /// Writes the logits of a unit's rows, named `<row>.<domain>`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_predictions(&self, key: &str, logits: &HashMap<String, Array3<f32>>) -> Result<()> {
        let path = self.run_folder(key).join("predictions.safetensors");
        let refused = |error: &dyn std::fmt::Display| Error::Store {
            path: path.clone(),
            problem: format!("predictions cannot be encoded: {error}"),
        };
        let bytes: HashMap<&str, (Vec<usize>, Vec<u8>)> = logits
            .iter()
            .map(|(name, values)| {
                (name.as_str(), (values.shape().to_vec(), values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(&name, (shape, bytes))| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| refused(&error))?;
        let encoded = safetensors::serialize(views, None).map_err(|error| refused(&error))?;
        Ok(write_atomically(&path, &encoded)?)
    }

    /// The logits of a unit's rows; `None` when they were not kept.
    ///
    /// # Errors
    /// [`Error::Store`] for a file that is not what was written.
    pub fn predictions(&self, key: &str) -> Result<Option<HashMap<String, Array3<f32>>>> {
        let path = self.run_folder(key).join("predictions.safetensors");
        if !path.is_file() {
            return Ok(None);
        }
        let refused = |problem: String| Error::Store { path: path.clone(), problem };
        let bytes = read(&path)?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| refused(format!("damaged predictions ({error}); delete the file and run again")))?;
        let mut logits = HashMap::new();
        for (name, view) in tensors.tensors() {
            let values: Vec<f32> =
                view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            let shape = <[usize; 3]>::try_from(view.shape())
                .map_err(|_| refused(format!("{name} has shape {:?}; expected three axes", view.shape())))?;
            let values = Array3::from_shape_vec(shape, values).map_err(|error| refused(format!("{name}: {error}")))?;
            logits.insert(name, values);
        }
        Ok(Some(logits))
    }
}

/// Refuses a record of another layout than [`SCHEMA`].
///
/// # Errors
/// [`Error::Store`] naming the file and both layouts.
pub fn check_schema(path: &Path, got: u32) -> Result<()> {
    if got == SCHEMA {
        return Ok(());
    }
    let problem = format!("has layout {got}; this program reads layout {SCHEMA}: delete it and run again");
    Err(Error::Store { path: path.to_owned(), problem })
}

/// The record in a file; none where there is no file.
///
/// # Errors
/// [`Error::Store`] for a file that is no record.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.is_file() {
        return Ok(None);
    }
    let record = serde_json::from_slice(&read(path)?).map_err(|error| Error::Store {
        path: path.to_owned(),
        problem: format!("not a record of this program ({error}); delete it and run again"),
    })?;
    Ok(Some(record))
}

/// Every record of a folder, in the order of the file names, each of the layout [`SCHEMA`].
///
/// # Errors
/// As [`read_json`] and [`check_schema`]; [`Error::Store`] for a folder that is there and cannot be read.
pub fn read_all<T: DeserializeOwned>(folder: &Path, schema: impl Fn(&T) -> u32) -> Result<Vec<T>> {
    let listed = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>());
    let mut paths = match listed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|error| Error::Store {
            path: folder.to_owned(),
            problem: format!("cannot be read ({error}); expected the folder of the records"),
        })?,
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut records = Vec::new();
    for path in paths {
        if let Some(record) = read_json(&path)? {
            check_schema(&path, schema(&record))?;
            records.push(record);
        }
    }
    Ok(records)
}

/// Writes a value on one line, with every digit.
///
/// # Errors
/// When it cannot be encoded or written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_formatted(path, value, CompactFormatter)
}

/// On one line, with seven significant digits: curves and histograms of a record are thousands of numbers, and records are kept.
fn write_record(path: &Path, value: &impl Serialize) -> Result<()> {
    write_formatted(path, value, SevenDigits::default())
}

fn write_formatted(path: &Path, value: &impl Serialize, formatter: impl Formatter) -> Result<()> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, formatter)).map_err(|error| Error::Store {
        path: path.to_owned(),
        problem: format!("record cannot be encoded: {error}"),
    })?;
    text.push(b'\n');
    Ok(write_atomically(path, &text)?)
}

/// The nearest number of seven significant digits: those beyond are noise over seeds, and differ between mathematical libraries.
pub fn seven_digits(value: f64) -> f64 {
    // What is printed is read again.
    format!("{value:.6e}").parse().unwrap_or(value)
}

/// Seven digits everywhere but in the settings of a record, whose hash is its key, and in the columns of its texts, which have the digits
/// that they need.
#[derive(Default)]
struct SevenDigits {
    /// Objects open.
    depth: u32,
    /// Whether the name of a member is being written.
    in_name: bool,
    /// Number of objects open around the member that is written with every digit.
    exact: Option<u32>,
}

/// The member of a record that tells what its key is the hash of.
const SETTINGS: &str = "settings";
/// The member of a result that has columns over texts.
const PER_TEXT: &str = "per_text";

impl Formatter for SevenDigits {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        CompactFormatter.write_f64(writer, if self.exact.is_some() { value } else { seven_digits(value) })
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        CompactFormatter.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.exact = self.exact.filter(|&around| around <= self.depth);
        CompactFormatter.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.in_name = true;
        CompactFormatter.begin_object_key(writer, first)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.in_name = false;
        CompactFormatter.end_object_key(writer)
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if self.in_name && self.exact.is_none_or(|around| self.depth <= around) {
            let is_exact = fragment == PER_TEXT || (self.depth == 1 && fragment == SETTINGS);
            self.exact = is_exact.then_some(self.depth);
        }
        CompactFormatter.write_string_fragment(writer, fragment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_seven_digits_and_trials_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let values = [1.0 / 3.0, -2e9 / 3.0, 2e-20 / 3.0, 0.25, 0.0];
        write_record(&path, &values).unwrap();
        assert_eq!(read_json(&path).unwrap(), Some([0.333_333_3, -666_666_700.0, 6.666_667e-21, 0.25, 0.0]));
        write_json(&path, &values).unwrap();
        assert_eq!(read_json(&path).unwrap(), Some(values));
    }

    #[test]
    fn a_folder_of_records_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert_eq!(store.units().unwrap().len(), 0, "none where there is no folder");
        std::fs::write(folder.path().join("units"), "").unwrap();
        let message = store.units().unwrap_err().to_string();
        assert!(message.contains("/units: cannot be read ("), "{message}");
    }

    #[test]
    fn the_settings_of_a_record_keep_every_digit_and_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let third = 1.0 / 3.0;
        let settings = serde_json::json!({ "rate": third, "inner": { "settings": [third, { "deep": third }] } });
        let record = serde_json::json!({ "before": third, "settings": settings, "then": { "settings": third } });
        write_record(&path, &record).unwrap();
        let read: serde_json::Value = read_json(&path).unwrap().unwrap();
        assert_eq!(key_of(&read["settings"]), key_of(&settings));
        let rounded = serde_json::json!(0.333_333_3);
        assert_eq!((&read["before"], &read["then"]["settings"]), (&rounded, &rounded));
    }

    #[test]
    fn columns_of_texts_keep_their_digits_and_what_follows_them_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let third = 1.0 / 3.0;
        let columns = serde_json::json!({ "wrong": [], "label_probability": [0.999_999_987_65, third] });
        let record = serde_json::json!([{ "per_text": columns, "then": third }, { "scores": { "nll": third } }]);
        write_record(&path, &record).unwrap();
        let read: serde_json::Value = read_json(&path).unwrap().unwrap();
        let rounded = serde_json::json!(0.333_333_3);
        assert_eq!((&read[0]["per_text"], &read[0]["then"]), (&columns, &rounded));
        assert_eq!(read[1]["scores"]["nll"], rounded);
    }
}

//! Lines on standard output and standard error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes one line to standard output and returns whether anybody still reads there.
///
/// A reader that has gone away, as `head` does, is no failure: what a command computes and stores it does all the same.
///
/// # Errors
/// What the system says when the line cannot be written, as on a full device.
pub fn print(line: impl Display) -> io::Result<bool> {
    write(&mut io::stdout().lock(), &line)
}

/// Writes one line to standard error; where that cannot be done, nobody can be told.
pub fn say(line: impl Display) {
    // There is no other place to complain.
    let _unread = write(&mut io::stderr().lock(), &line);
}

fn write(to: &mut impl Write, line: &dyn Display) -> io::Result<bool> {
    // In one piece, so that lines of several processes do not mix.
    let written = to.write_all(format!("{line}\n").as_bytes()).and_then(|()| to.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails every write with the same error.
    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_ends_with_a_line_end() {
        let mut out = Vec::new();
        assert!(write(&mut out, &"a line").unwrap());
        assert_eq!(out, b"a line\n");
    }

    #[test]
    fn a_reader_that_has_gone_away_is_no_failure() {
        assert!(!write(&mut Failing(ErrorKind::BrokenPipe), &"a line").unwrap());
    }

    #[test]
    fn a_full_device_is_a_failure() {
        let error = write(&mut Failing(ErrorKind::StorageFull), &"a line").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

//! Files that an operator names, read with a bound.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Opens a file; refuses what is not a regular file, such as a pipe, on which reading may wait for ever.
///
/// # Errors
/// As [`File::open`], and when it is not a regular file.
pub fn open_file(path: impl AsRef<Path>) -> io::Result<File> {
    match fs::metadata(&path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        )),
    }
}

/// Reads a file of at most this many bytes.
///
/// # Errors
/// As [`open_file`], and when it is larger.
pub fn read_file(path: impl AsRef<Path>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open_file(path)?;
    let too_large = || {
        let size = match bytes_max >> 20 {
            0 => format!("{bytes_max} bytes"),
            mib if mib % 1_024 == 0 => format!("{} GiB", mib / 1_024),
            mib => format!("{mib} MiB"),
        };
        let why = format!("it is larger than {size}");
        io::Error::new(ErrorKind::FileTooLarge, why)
    };
    if file.metadata()?.len() > bytes_max {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    // It may have grown.
    match bytes.len() as u64 > bytes_max {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_or_too_large_is_refused() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let whole = fs::read(file).unwrap();
        let length = whole.len() as u64;
        assert_eq!(read_file(file, length).unwrap(), whole);
        let refused = |path: &str, most| read_file(path, most).unwrap_err().to_string();
        assert_eq!(
            refused(file, length - 1),
            format!("it is larger than {} bytes", length - 1)
        );
        for path in ["/dev/zero", env!("CARGO_MANIFEST_DIR")] {
            assert_eq!(refused(path, 1 << 20), "it is not a regular file", "{path}");
        }
    }
}

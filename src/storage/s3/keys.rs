//! Keys that a request names elsewhere than in its path, where `s3s` checks them.

use s3s::{S3Result, s3_error};

use crate::storage::unnamable::KEY_BYTES_MAX;

/// Refuses a key under which nothing could be read.
pub(super) fn check(key: &str) -> S3Result<()> {
    match key {
        "" => Err(s3_error!(
            InvalidArgument,
            "User key must have a length greater than 0."
        )),
        key if key.len() > KEY_BYTES_MAX => Err(s3_error!(KeyTooLongError, "Your key is too long")),
        key if key.contains('\0') => Err(s3_error!(InvalidArgument, "a key cannot contain U+0000")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_1_024_bytes_and_no_null() {
        let code = |key: &str| check(key).err().map(|it| it.code().as_str().to_owned());
        assert_eq!(code(&"x".repeat(1_024)), None);
        assert_eq!(code("a\u{1}\r"), None);
        for (key, expected) in [
            ("x".repeat(1_025), "KeyTooLongError"),
            ("é".repeat(513), "KeyTooLongError"),
            (String::new(), "InvalidArgument"),
            ("a\0b".to_owned(), "InvalidArgument"),
        ] {
            assert_eq!(code(&key).as_deref(), Some(expected), "{key:?}");
        }
    }
}

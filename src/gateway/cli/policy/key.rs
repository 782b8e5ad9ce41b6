//! `tidegate policy key`, and the key that `push --sign` reads.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use serde_json::json;
use tidegate_rollout::SigningKey;

use super::file::{open_input, print_either};
use crate::gateway::cli::Exit;

/// Most that is read of a key's file: a key has less than 1 KiB.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// Makes a key and prints the public one.
pub(super) fn key(file: &str, json: bool) -> Result<(), Exit> {
    let (pem, key) = SigningKey::generate().map_err(Exit::failed)?;
    let mut options = std::fs::OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(file);
    let mut created = created.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Exit::unusable(format_args!(
            "{file}: it exists, and no key is overwritten: name another file"
        )),
        _ => Exit::unusable(format_args!("{file}: {error}")),
    })?;
    let written = created.write_all(pem.as_bytes());
    written.map_err(|error| Exit::failed(format_args!("{file}: {error}")))?;
    let public = key.public().to_string();
    print_either(json, &json!({ "public": public }), &format!("{public}\n"))
}

/// Reads the key that signs revisions.
pub(super) fn signing_key(file: &str) -> Result<SigningKey, Exit> {
    let unreadable = |error| Exit::unusable(format_args!("{file}: {error}"));
    let opened = open_input(file).map_err(unreadable)?;
    let mut text = String::new();
    let read = opened.take(KEY_BYTES_MAX).read_to_string(&mut text);
    read.map_err(unreadable)?;
    SigningKey::from_pem(&text).map_err(|error| Exit::unusable(format_args!("{file}: {error}")))
}

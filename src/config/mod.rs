//! Flags, environment and TOML file → validated plain data.

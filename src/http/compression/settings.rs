//! `[compression]`: what an operator may set.

use serde::{Deserialize, Deserializer};
use tidegate_model::settings;
use tidegate_model::values::{Form, count};

use super::Coding;

settings! {
    /// `[compression]`: which answers are compressed.
    #[derive(Debug, Clone)]
    pub struct CompressionSettings {
        /// The codings, the preferred one first; `[]` turns compression off.
        encodings: Vec<Coding> = Coding::ALL.to_vec(), Codings;
        /// Bytes that an answer needs to be compressed.
        min_bytes: usize = 1024, count("bytes"),
            low "answers that fit into one packet anyway are compressed.",
            high "answers are sent whole that would be a fraction.";
    }
}

/// A list of codings.
#[derive(Debug, Clone, Copy)]
struct Codings;

impl Form<Vec<Coding>> for Codings {
    fn range(&self) -> String {
        "a list of `zstd`, `br` and `gzip`, each once".to_owned()
    }

    fn written(&self, value: &Vec<Coding>) -> String {
        let names = value
            .iter()
            .map(|coding| format!("\"{}\"", coding.as_str()));
        format!("[{}]", names.collect::<Vec<_>>().join(", "))
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<Vec<Coding>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        let mut codings = Vec::with_capacity(names.len());
        for name in &names {
            match Coding::parse(name) {
                Some(coding) if !codings.contains(&coding) => codings.push(coding),
                Some(_) => {
                    return Err(serde::de::Error::custom(format!(
                        "`{name}` is listed twice"
                    )));
                }
                None => {
                    let expected = "expected `zstd`, `br` or `gzip`";
                    return Err(serde::de::Error::custom(format!("`{name}`: {expected}")));
                }
            }
        }
        Ok(codings)
    }
}

//! `page` of an `[[endpoint]]`, and its conversion to a [`PageConfig`].

use serde::Deserialize;

use crate::sql::PageConfig;

/// The table as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageSection {
    column: String,
    cursor: Option<String>,
    limit: Option<String>,
    default: Option<u32>,
    max: Option<u32>,
}

impl PageSection {
    /// Adds the defaults; what the statement has to do with it is checked with the statement.
    pub(super) fn resolve(self) -> PageConfig {
        let max = self.max.unwrap_or(PageConfig::MAX);
        PageConfig {
            column: self.column,
            cursor: self.cursor.unwrap_or_else(|| PageConfig::CURSOR.to_owned()),
            limit: self.limit.unwrap_or_else(|| PageConfig::LIMIT.to_owned()),
            default: self.default.unwrap_or(PageConfig::DEFAULT.min(max)),
            max,
        }
    }
}

//! Values given as flags; they win over everything else.

use std::collections::BTreeMap;

use tidegate_model::settings::Setting;

/// The values of flags, by the flags that settings declare.
#[derive(Debug, Default, Clone)]
pub struct Overrides(BTreeMap<&'static str, String>);

impl Overrides {
    /// Adds the flag of a setting, if it was given.
    #[must_use]
    pub fn with(mut self, setting: &Setting, value: Option<String>) -> Self {
        self.0.extend(setting.flag.zip(value));
        self
    }

    /// The flag that was given for a setting, and its value.
    pub(super) fn get(&self, setting: &Setting) -> Option<(&'static str, &str)> {
        let (flag, value) = self.0.get_key_value(setting.flag?)?;
        Some((flag, value))
    }
}

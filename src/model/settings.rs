//! How a room declares what an operator may set: each setting once, with its form, default and meaning.
//!
//! [`settings!`] makes a section of the file: the struct, its defaults, its reader and its part of the
//! reference. What is not a number or a duration of a section is a [`Setting`] of its own.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
pub use serde::{Deserialize, Deserializer};

/// One thing that an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key in the file, without the section; empty where the file cannot set it.
    pub key: &'static str,
    /// The environment variable that sets it.
    pub variable: Option<&'static str>,
    /// The flag that sets it, with its dashes.
    pub flag: Option<&'static str>,
    /// What applies where it is not set, as the file would write it or in words.
    pub default: fn() -> String,
    /// What may stand there: the unit and the range, or the form.
    pub range: fn() -> String,
    /// What of a given value may be shown.
    pub shown: fn(&str) -> String,
    /// What it is for.
    pub meaning: &'static str,
    /// What breaks when the value is too low.
    pub too_low: &'static str,
    /// What breaks when the value is too high.
    pub too_high: &'static str,
}

impl Setting {
    /// One that has no names yet, and is required: the start of a declaration.
    pub const UNNAMED: Self = Self {
        key: "",
        variable: None,
        flag: None,
        default: || "required".to_owned(),
        range: String::new,
        shown: str::to_owned,
        meaning: "",
        too_low: "",
        too_high: "",
    };

    /// What is shown of a secret.
    #[must_use]
    pub fn secret(_: &str) -> String {
        "set".to_owned()
    }

    /// What operators call it: its key, else its variable.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.variable {
            Some(variable) if self.key.is_empty() => variable,
            _ => self.key,
        }
    }
}

/// A section of the file whose keys all have defaults; [`settings!`] implements it.
pub trait Section: Default {
    /// Its keys.
    const KEYS: &'static [&'static str];

    /// What they set, in the same order.
    const SETTINGS: &'static [Setting];

    /// Reads the value of a key of the section; ignores any other.
    ///
    /// # Errors
    /// Says what is expected in place of the value.
    fn set<'de, D: Deserializer<'de>>(&mut self, key: &str, from: D) -> Result<(), D::Error>;

    /// The values in force, as the file would write them, in the order of the keys.
    fn written(&self) -> Vec<String>;
}

/// Reads a section, for the [`Deserialize`] that [`settings!`] implements.
///
/// # Errors
/// Names a key that is not one of the section's, or says what is expected in place of a value.
pub fn read_section<'de, S: Section, D: Deserializer<'de>>(from: D) -> Result<S, D::Error> {
    from.deserialize_map(SectionVisitor(PhantomData))
}

struct SectionVisitor<S>(PhantomData<S>);

impl<'de, S: Section> Visitor<'de> for SectionVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S, A::Error> {
        let mut section = S::default();
        while let Some(key) = map.next_key_seed(Key(S::KEYS))? {
            let section = &mut section;
            map.next_value_seed(Value { section, key })?;
        }
        Ok(section)
    }
}

/// Reads a key that is one of these.
struct Key(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<&'static str, D::Error> {
        let given = String::deserialize(from)?;
        let known = self.0.iter().find(|key| **key == given);
        let known = known.ok_or_else(|| D::Error::unknown_field(&given, self.0))?;
        Ok(known)
    }
}

/// Reads the value of a key into its section.
struct Value<'a, S> {
    section: &'a mut S,
    key: &'static str,
}

impl<'de, S: Section> DeserializeSeed<'de> for Value<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.section.set(self.key, from)
    }
}

/// Declares a section of the file: a struct whose fields are its keys.
///
/// A field has its type, default, [`Form`](crate::values::Form) and meaning, and says what breaks when it
/// is too low and too high where that can be:
///
/// ```ignore
/// settings! {
///     /// `[pool]`: connections to one node.
///     #[derive(Debug, Clone)]
///     pub struct PoolSettings {
///         /// Most connections to one node.
///         connections_max: usize = 16, count("connections"),
///             low "Requests wait while the server idles.",
///             high "The server runs out of connections.";
///     }
/// }
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $vis:vis struct $Name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:expr, $form:expr
                    $(, low $low:literal)? $(, high $high:literal)?;
            )+
        }
    ) => {
        $(#[$meta])*
        $vis struct $Name {
            $(
                $(#[doc = $doc])+
                $(#[doc = concat!("\n\nToo low: ", $low)])?
                $(#[doc = concat!("\n\nToo high: ", $high)])?
                pub $field: $type,
            )+
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::settings::Section for $Name {
            const KEYS: &'static [&'static str] = &[$(stringify!($field)),+];

            const SETTINGS: &'static [$crate::settings::Setting] = &[
                $($crate::settings::Setting {
                    key: stringify!($field),
                    default: || {
                        let default: $type = $default;
                        $crate::values::Form::<$type>::written(&$form, &default)
                    },
                    range: || $crate::values::Form::<$type>::range(&$form),
                    meaning: concat!($($doc),+),
                    too_low: concat!($($low)?),
                    too_high: concat!($($high)?),
                    ..$crate::settings::Setting::UNNAMED
                },)+
            ];

            fn set<'de, D: $crate::settings::Deserializer<'de>>(
                &mut self,
                key: &str,
                from: D,
            ) -> Result<(), D::Error> {
                match key {
                    $(stringify!($field) => self.$field = $crate::values::Form::read(&$form, from)?,)+
                    _ => {}
                }
                Ok(())
            }

            fn written(&self) -> Vec<String> {
                vec![$($crate::values::Form::<$type>::written(&$form, &self.$field)),+]
            }
        }

        impl<'de> $crate::settings::Deserialize<'de> for $Name {
            fn deserialize<D: $crate::settings::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::settings::read_section(from)
            }
        }
    };
}

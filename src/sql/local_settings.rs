//! The settings and the role of a request's transaction, on which row-level security builds.
//!
//! They are set by `set_config(…, true)`, so they end with the transaction, and every value is bound, so it
//! is text whatever it contains. The role is one of a list in the configuration: what a claim says is
//! compared with the list and never sent.

use std::fmt;
use std::fmt::Write;

use super::place::{ParameterError, SqlPlace};
use super::{Argument, ArgumentError, Parameter, ParameterSource, RequestValues, SqlConfig};

/// Most settings of one endpoint: far more than policies read.
const SETTINGS_MAX: usize = 64;

/// Longest name of a setting or role, as in PostgreSQL (`NAMEDATALEN`).
const NAME_LENGTH_MAX: usize = 63;

/// Settings that would change what a statement means, who runs it, whether it may write, how its bytes are
/// to be read or what the server logs of it.
const RESERVED: [&str; 4] = [
    "role",
    "session_authorization",
    "search_path",
    "client_encoding",
];

/// The role that PostgreSQL takes for none: it would be the gateway's own.
const NO_ROLE: &str = "none";

/// The settings and the role of an endpoint's transactions.
#[derive(Debug)]
pub struct LocalSettings {
    /// Sets all of them; empty if there are none.
    text: String,
    settings: Vec<LocalSetting>,
    role: Option<ClaimedRole>,
}

#[derive(Debug)]
struct LocalSetting {
    name: String,
    value: SettingValue,
}

#[derive(Debug)]
enum SettingValue {
    Constant(String),
    Parameter(Parameter),
}

/// A claim, and the roles that it may name.
#[derive(Debug)]
struct ClaimedRole {
    claim: String,
    roles: Vec<String>,
}

/// What one request sets.
#[derive(Debug)]
pub struct BoundSettings<'a> {
    /// The statement that sets the values; empty if there are none.
    pub(super) text: &'a str,
    pub(super) values: Vec<Argument<'a>>,
    pub(super) role: Option<&'a str>,
}

/// Why the settings of an endpoint cannot be used: the key, the value, and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct LocalSettingsError {
    /// `settings`, `role` or `roles`.
    pub key: &'static str,
    /// The setting, or the role.
    pub value: String,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("expected the name of a setting, such as `app.user`")]
    Name,
    #[error("it cannot be set for a request")]
    Reserved,
    #[error("it is set twice")]
    Repeated,
    #[error("at most {SETTINGS_MAX} settings are possible")]
    TooMany,
    #[error("expected one parameter such as `:claims.sub`, or a text without any")]
    Value,
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    #[error("expected one claim, such as `:claims.role`")]
    NotAClaim,
    #[error("it goes with `roles`, the list of what it may be")]
    WithoutRoles,
    #[error("it goes with `role`, the claim that names one of them")]
    WithoutRole,
    #[error("at least one role is needed")]
    NoRoles,
    #[error("to PostgreSQL it means no role, and so the gateway's own")]
    NoRole,
    #[error("expected the name of a role, of 1 to {NAME_LENGTH_MAX} bytes")]
    RoleName,
}

impl Why {
    fn of(self, key: &'static str, value: &str) -> LocalSettingsError {
        LocalSettingsError {
            key,
            value: value.to_owned(),
            why: self,
        }
    }
}

/// A claim that does not name a role of the list.
#[derive(Debug, thiserror::Error)]
#[error("the claim {0} of the token does not name a role that is allowed here")]
pub struct RoleError(String);

/// Why the settings of a request cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A value is unusable.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The role is refused.
    #[error(transparent)]
    Role(#[from] RoleError),
}

impl LocalSettings {
    /// Compiles the settings and the role of an endpoint; `None` if it has neither.
    ///
    /// # Errors
    /// Names the key and states what is wrong with it.
    pub(super) fn compile(
        place: SqlPlace<'_>,
        config: &SqlConfig,
    ) -> Result<Option<Self>, LocalSettingsError> {
        let mut settings: Vec<LocalSetting> = Vec::with_capacity(config.settings.len());
        for (name, value) in &config.settings {
            let refuse = |why: Why| why.of("settings", name);
            check_name(name).map_err(refuse)?;
            let mut known = settings.iter();
            if known.any(|known| known.name.eq_ignore_ascii_case(name)) {
                return Err(refuse(Why::Repeated));
            }
            if settings.len() == SETTINGS_MAX {
                return Err(refuse(Why::TooMany));
            }
            settings.push(LocalSetting {
                name: name.clone(),
                value: SettingValue::parse(value, place).map_err(refuse)?,
            });
        }
        let role = ClaimedRole::compile(place, config)?;
        let is_needed = role.is_some() || !settings.is_empty();
        Ok(is_needed.then(|| Self {
            text: text_of(&settings),
            settings,
            role,
        }))
    }

    /// The parameters of the settings, which the answer depends on as on those of the statement. The role's
    /// claim is not among them.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &Parameter> + Clone {
        self.settings.iter().filter_map(|it| it.value.parameter())
    }

    /// The roles that its requests may have.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let roles = self.role.iter().flat_map(|role| &role.roles);
        roles.map(String::as_str)
    }

    /// Each setting that a server can check before there is a request, with its constant value; `None` for
    /// a value of requests, whose name must exist then. A name with a dot always does.
    pub fn checked(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.settings.iter().filter_map(|it| match &it.value {
            SettingValue::Constant(text) => Some((it.name.as_str(), Some(text.as_str()))),
            SettingValue::Parameter(_) if it.is_custom() => None,
            SettingValue::Parameter(_) => Some((it.name.as_str(), None)),
        })
    }

    /// Binds the values of one request.
    pub(super) fn bind<'a>(
        &'a self,
        request: &RequestValues<'a>,
    ) -> Result<BoundSettings<'a>, BindError> {
        let values = self.settings.iter().map(|it| it.argument(request));
        Ok(BoundSettings {
            text: &self.text,
            values: values.collect::<Result<_, _>>()?,
            role: match &self.role {
                None => None,
                Some(role) => Some(role.of(request)?),
            },
        })
    }
}

/// The names, for people: values may be secret.
impl fmt::Display for LocalSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings.iter().map(|it| it.name.as_str());
        let role = self.role.as_ref().map(|_| "role");
        let names: Vec<_> = settings.chain(role).collect();
        f.write_str(&names.join(", "))
    }
}

impl LocalSetting {
    /// Whether it is the application's own; PostgreSQL's have no dot.
    fn is_custom(&self) -> bool {
        self.name.contains('.')
    }

    fn argument<'a>(&'a self, request: &RequestValues<'a>) -> Result<Argument<'a>, ArgumentError> {
        match &self.value {
            SettingValue::Constant(text) => Ok(Argument::text(text)),
            // A session may have had it from a request before: it must be set to something.
            SettingValue::Parameter(parameter) if self.is_custom() => {
                Ok(request.argument(parameter)?.or_empty())
            }
            SettingValue::Parameter(parameter) => request.argument(parameter),
        }
    }
}

impl SettingValue {
    fn parse(text: &str, place: SqlPlace<'_>) -> Result<Self, Why> {
        if let Some(parameter) = Parameter::parse(text) {
            place.check(&parameter)?;
            return Ok(Self::Parameter(parameter));
        }
        let names_one = text.match_indices(':').any(|(at, _)| {
            let source = text[at + 1..].split_once('.').map(|(source, _)| source);
            source.is_some_and(|source| ParameterSource::parse(source).is_some())
        });
        if names_one || text.starts_with(':') || text.contains('\0') {
            return Err(Why::Value);
        }
        Ok(Self::Constant(text.to_owned()))
    }

    fn parameter(&self) -> Option<&Parameter> {
        match self {
            Self::Parameter(parameter) => Some(parameter),
            Self::Constant(_) => None,
        }
    }
}

impl ClaimedRole {
    fn compile(
        place: SqlPlace<'_>,
        config: &SqlConfig,
    ) -> Result<Option<Self>, LocalSettingsError> {
        let (role, roles) = match (&config.role, &config.roles) {
            (None, None) => return Ok(None),
            (Some(role), None) => return Err(Why::WithoutRoles.of("role", role)),
            (None, Some(_)) => return Err(Why::WithoutRole.of("roles", "")),
            (Some(role), Some(roles)) => (role, roles),
        };
        let parameter = Parameter::parse(role).filter(|it| it.source == ParameterSource::Claims);
        let Some(parameter) = parameter else {
            return Err(Why::NotAClaim.of("role", role));
        };
        let checked = place.check(&parameter);
        checked.map_err(|error| Why::from(error).of("role", role))?;
        if roles.is_empty() {
            return Err(Why::NoRoles.of("roles", ""));
        }
        for name in roles {
            let why = match name.as_str() {
                NO_ROLE => Why::NoRole,
                "" => Why::RoleName,
                name if name.len() > NAME_LENGTH_MAX || name.contains('\0') => Why::RoleName,
                _ => continue,
            };
            return Err(why.of("roles", name));
        }
        Ok(Some(Self {
            claim: parameter.name,
            roles: roles.clone(),
        }))
    }

    /// The role of the list that is exactly the claim's string.
    fn of(&self, request: &RequestValues<'_>) -> Result<&str, RoleError> {
        let claimed = request.string_claim(&self.claim);
        let role = claimed.and_then(|claimed| self.roles.iter().find(|role| **role == claimed));
        role.map(String::as_str)
            .ok_or_else(|| RoleError(self.claim.clone()))
    }
}

fn check_name(name: &str) -> Result<(), Why> {
    let is_part = |part: &str| {
        let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
        part.starts_with(is_start) && part.chars().all(|c| is_start(c) || c.is_ascii_digit())
    };
    if name.len() > NAME_LENGTH_MAX || !name.split('.').all(is_part) {
        return Err(Why::Name);
    }
    // PostgreSQL ignores the case.
    let name = name.to_ascii_lowercase();
    let is_reserved = RESERVED.contains(&name.as_str())
        || name.ends_with("_read_only")
        || name.starts_with("log_");
    match is_reserved {
        true => Err(Why::Reserved),
        false => Ok(()),
    }
}

/// The statement that sets them all. An absent value leaves a setting of PostgreSQL alone; NULL would reset
/// it.
fn text_of(settings: &[LocalSetting]) -> String {
    let mut text = String::new();
    for (index, setting) in settings.iter().enumerate() {
        let (name, number) = (&setting.name, index + 1);
        let first = if index == 0 { "select" } else { "," };
        // The name has neither quotes nor backslashes.
        let _infallible = write!(
            text,
            "{first} case when ${number} is not null \
             then pg_catalog.set_config('{name}', ${number}, true) end"
        );
    }
    text
}

#[cfg(test)]
mod tests;

//! The values of one request, bound as text whose type PostgreSQL infers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use http::HeaderMap;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use super::parameter::{Parameter, ParameterSource};
use super::statement::SqlStatement;
use crate::http::{JsonObject, Query, json_text};

/// All parts of a request that a parameter can name.
pub struct RequestValues<'a> {
    /// Values of the path template, percent-decoded.
    pub path: &'a [(String, String)],
    /// The query string.
    pub query: &'a Query<'a>,
    /// The body, if the statement names a member of it.
    pub body: Option<&'a JsonObject<'a>>,
    /// The claims, if the endpoint requires a JWT.
    pub claims: Option<&'a BTreeMap<String, Box<RawValue>>>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// A request value that cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    /// PostgreSQL's text cannot hold NUL.
    #[error("{0} contains a NUL character")]
    Nul(Parameter),
    /// A header given twice.
    #[error("{0} is given more than once")]
    Repeated(Parameter),
    /// A header that is not visible ASCII.
    #[error("{0} is not plain text")]
    NotText(Parameter),
}

/// One value: text, or NULL. `Debug` does not show it, since `tokio_postgres` logs parameters.
pub struct Argument<'a>(Option<Cow<'a, str>>);

impl fmt::Debug for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or("NULL", |_| "***"))
    }
}

impl<'a> Argument<'a> {
    /// A text of the configuration.
    pub(super) fn text(text: &'a str) -> Self {
        Self(Some(Cow::Borrowed(text)))
    }

    /// A text that is made for the request.
    pub(super) fn owned(text: String) -> Self {
        Self(Some(Cow::Owned(text)))
    }

    /// Its text, for tests.
    #[cfg(test)]
    pub(super) fn shown(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The same, empty in place of NULL.
    pub(super) fn or_empty(self) -> Self {
        Self(Some(self.0.unwrap_or_default()))
    }
}

impl<'a> RequestValues<'a> {
    /// The arguments of a statement, in the order of its parameters.
    ///
    /// # Errors
    /// Names the parameter that cannot be bound.
    pub fn bind(
        &self,
        statement: &SqlStatement,
    ) -> Result<SmallVec<[Argument<'a>; 8]>, ArgumentError> {
        statement
            .parameters()
            .iter()
            .map(|parameter| self.argument(parameter))
            .collect()
    }

    pub(super) fn argument(&self, parameter: &Parameter) -> Result<Argument<'a>, ArgumentError> {
        let name = parameter.name.as_str();
        let text = match parameter.source {
            ParameterSource::Path => {
                let value = self.path.iter().find(|(known, _)| known == name);
                value.map(|(_, value)| Cow::Borrowed(value.as_str()))
            }
            ParameterSource::Query => self.query.get(name).map(Cow::Borrowed),
            ParameterSource::Body => self.body.and_then(|body| body.text(name)),
            ParameterSource::Claims => self
                .claims
                .and_then(|claims| claims.get(name))
                .and_then(|claim| json_text(claim)),
            ParameterSource::Header => self.header(parameter)?,
        };
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(ArgumentError::Nul(parameter.clone()));
        }
        Ok(Argument(text))
    }

    /// The value of a claim that is a JSON string.
    pub(super) fn string_claim(&self, name: &str) -> Option<Cow<'a, str>> {
        let claim = self.claims?.get(name)?;
        let is_string = claim.get().starts_with('"');
        is_string.then(|| json_text(claim)).flatten()
    }

    fn header(&self, parameter: &Parameter) -> Result<Option<Cow<'a, str>>, ArgumentError> {
        let mut values = self.headers.get_all(parameter.name.as_str()).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(ArgumentError::Repeated(parameter.clone()));
        }
        match value.to_str() {
            Ok(text) => Ok(Some(Cow::Borrowed(text))),
            Err(_not_ascii) => Err(ArgumentError::NotText(parameter.clone())),
        }
    }
}

impl ToSql for Argument<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = &self.0 else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

//! One statement of the configuration, made ready to prepare.
//!
//! `:source.name` becomes `$n`, and the statement becomes a CTE whose rows PostgreSQL renders as
//! JSON, so that `select`, `insert … returning` and function calls are all served alike.

use std::fmt;

use super::lexer::{Piece, pieces};

/// Most parameters of one statement; the protocol counts them in 16 bits.
const PARAMETERS_MAX: usize = 256;

/// Where a parameter's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A `{name}` of the path template.
    Path,
    /// The query string.
    Query,
    /// A member of the JSON body.
    Body,
    /// A claim of the verified JWT.
    Claims,
    /// A request header.
    Header,
}

impl Source {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "path" => Some(Self::Path),
            "query" => Some(Self::Query),
            "body" => Some(Self::Body),
            "claims" => Some(Self::Claims),
            "header" => Some(Self::Header),
            _ => None,
        }
    }
}

/// One `:source.name`. Displays as a client would be told of it: `query parameter "limit"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Where the value comes from.
    pub source: Source,
    /// Its name there; a header's in lower case.
    pub name: String,
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source {
            Source::Path => "path parameter",
            Source::Query => "query parameter",
            Source::Body => "body member",
            Source::Claims => "token claim",
            Source::Header => "header",
        };
        write!(f, "{kind} \"{}\"", self.name)
    }
}

/// A statement that PostgreSQL can prepare.
#[derive(Debug)]
pub struct SqlStatement {
    text: String,
    parameters: Vec<Parameter>,
}

/// Why a statement of the configuration cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StatementError {
    /// It does not begin like something that returns rows.
    #[error("it must begin with select, insert, update, delete, values, table or with")]
    NotRows,
    /// More than one statement.
    #[error("it must be one statement")]
    Several,
    /// A CTE of its own modifies data; PostgreSQL allows that at the top level only.
    #[error("its own `with` modifies data, which cannot be wrapped; put it into a function")]
    ModifyingCte,
    /// `$1` instead of a named parameter.
    #[error("`{0}`: write :source.name in place of numbered parameters")]
    Positional(String),
    /// A colon that is neither a cast nor a parameter.
    #[error(
        "`{0}` is not a parameter: expected :path.x, :query.x, :body.x, :claims.x or :header.x"
    )]
    UnknownSource(String),
    /// Parentheses that do not match.
    #[error("its parentheses do not match")]
    Unbalanced,
    /// More than 256 parameters.
    #[error("it has more than {PARAMETERS_MAX} parameters")]
    TooManyParameters,
}

impl SqlStatement {
    /// Parses and wraps a statement; `single` makes the answer one object instead of an array.
    ///
    /// # Errors
    /// When the text is not one statement that can be wrapped, or names an unknown parameter.
    pub fn parse(sql: &str, single: bool) -> Result<Self, StatementError> {
        check_shape(sql)?;
        let mut parameters = Vec::new();
        let mut inner = String::with_capacity(sql.len());
        for piece in pieces(sql) {
            match piece {
                Piece::Colon(text) => {
                    let number = number_of(text, &mut parameters)?;
                    inner.push_str(&format!("${number}"));
                }
                Piece::Positional(text) => return Err(StatementError::Positional(text.to_owned())),
                Piece::Punctuation(";") => {}
                Piece::Word(text)
                | Piece::Punctuation(text)
                | Piece::Blank(text)
                | Piece::Other(text) => inner.push_str(text),
            }
        }
        Ok(Self {
            text: wrapped(inner.trim(), single),
            parameters,
        })
    }

    /// The text to prepare.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parameters; the first is `$1`.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }
}

/// The statement as a CTE whose rows become JSON text. The line break ends a trailing comment.
fn wrapped(inner: &str, single: bool) -> String {
    let answer = if single {
        "select row_to_json(tidegate)::text from tidegate limit 1"
    } else {
        "select '[' || coalesce(string_agg(row_to_json(tidegate)::text, ','), '') || ']' from tidegate"
    };
    format!("with tidegate as materialized ({inner}\n) {answer}")
}

/// The number of a parameter, which a repeated name shares.
fn number_of(text: &str, parameters: &mut Vec<Parameter>) -> Result<usize, StatementError> {
    let unknown = || StatementError::UnknownSource(text.to_owned());
    let (source, name) = text[1..].split_once('.').ok_or_else(unknown)?;
    let source = Source::parse(source).ok_or_else(unknown)?;
    if name.is_empty() {
        return Err(unknown());
    }
    let name = match source {
        Source::Header => name.to_ascii_lowercase(),
        Source::Path | Source::Query | Source::Body | Source::Claims => name.to_owned(),
    };
    let parameter = Parameter { source, name };
    let known = parameters.iter().position(|known| *known == parameter);
    let index = known.unwrap_or_else(|| {
        parameters.push(parameter);
        parameters.len() - 1
    });
    if index < PARAMETERS_MAX {
        Ok(index + 1)
    } else {
        Err(StatementError::TooManyParameters)
    }
}

/// Refuses what cannot stand inside `with tidegate as ( … )`.
fn check_shape(sql: &str) -> Result<(), StatementError> {
    let significant: Vec<_> = pieces(sql)
        .filter(|piece| !matches!(piece, Piece::Blank(_)))
        .collect();
    let first = significant.iter().find_map(|piece| match piece {
        Piece::Word(word) => Some(word.to_ascii_lowercase()),
        _ => None,
    });
    let known = [
        "select", "insert", "update", "delete", "values", "table", "with",
    ];
    let first = first.filter(|word| known.contains(&word.as_str()));
    let first = first.ok_or(StatementError::NotRows)?;

    let end = significant
        .iter()
        .position(|piece| *piece == Piece::Punctuation(";"));
    if end.is_some_and(|end| {
        significant[end..]
            .iter()
            .any(|p| *p != Piece::Punctuation(";"))
    }) {
        return Err(StatementError::Several);
    }
    let mut depth = 0_usize;
    for (piece, next) in significant
        .iter()
        .zip(significant.iter().skip(1).map(Some).chain([None]))
    {
        match (piece, next) {
            (Piece::Punctuation("("), next) => {
                depth += 1;
                if first == "with" && next.is_some_and(modifies) {
                    return Err(StatementError::ModifyingCte);
                }
            }
            (Piece::Punctuation(")"), _) => {
                depth = depth.checked_sub(1).ok_or(StatementError::Unbalanced)?;
            }
            _ => {}
        }
    }
    if depth == 0 {
        Ok(())
    } else {
        Err(StatementError::Unbalanced)
    }
}

fn modifies(piece: &Piece<'_>) -> bool {
    let Piece::Word(word) = piece else {
        return false;
    };
    ["insert", "update", "delete", "merge"]
        .iter()
        .any(|verb| word.eq_ignore_ascii_case(verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner(sql: &str) -> String {
        let statement = SqlStatement::parse(sql, false).unwrap();
        let text = statement
            .text()
            .strip_prefix("with tidegate as materialized (")
            .unwrap();
        text.split_once("\n) select '['").unwrap().0.to_owned()
    }

    #[test]
    fn parameters_become_numbers_and_repeated_ones_share_theirs() {
        let sql = "select * from t where a = :path.a and b = :query.b::int or a <> :path.a;";
        assert_eq!(
            inner(sql),
            "select * from t where a = $1 and b = $2::int or a <> $1"
        );
        let statement = SqlStatement::parse("select :header.X-Key, :query.a-1", true).unwrap();
        assert_eq!(statement.parameters()[0].name, "x-key");
        assert_eq!(statement.parameters()[1].name, "a");
    }

    #[test]
    fn quotes_comments_and_casts_are_left_alone() {
        for sql in [
            "select ':path.a', \":path.b\", E'\\':path.c'",
            "select $$ :path.a $$, $x$ :path.b $y$ $x$, 'it''s :path.c'",
            "select 1 -- :path.a\n, 2 /* :path.b /* nested */ :path.c */",
            "select '1'::int, a$1 from t",
        ] {
            assert_eq!(inner(sql), sql);
        }
    }

    #[test]
    fn what_cannot_be_wrapped_is_refused() {
        let error = |sql: &str| SqlStatement::parse(sql, false).unwrap_err();
        assert_eq!(error("drop table t"), StatementError::NotRows);
        assert_eq!(error(""), StatementError::NotRows);
        assert_eq!(error("select 1; select 2"), StatementError::Several);
        assert_eq!(error("select 1)"), StatementError::Unbalanced);
        assert_eq!(error("select (1"), StatementError::Unbalanced);
        assert_eq!(
            error("select $1"),
            StatementError::Positional("$1".to_owned())
        );
        assert_eq!(
            error("select :cookie.a"),
            StatementError::UnknownSource(":cookie.a".to_owned())
        );
        assert_eq!(
            error("select :path."),
            StatementError::UnknownSource(":path.".to_owned())
        );
        let own = "with w as (insert into t values (1) returning *) select * from w";
        assert_eq!(error(own), StatementError::ModifyingCte);
        assert!(SqlStatement::parse("with w as (select 1) select * from w", false).is_ok());
        assert!(SqlStatement::parse("insert into t values (:body.a) returning *", true).is_ok());
    }
}

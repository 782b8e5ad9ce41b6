//! One statement of the configuration, rewritten so that it can be prepared.
//!
//! `:source.name` becomes `$n`, and the statement becomes a CTE whose rows PostgreSQL renders as
//! JSON, so that `select`, `insert … returning` and function calls are served in the same way.

use super::lexer::{Piece, is_word, pieces, unquoted_name};
use super::parameter::Parameter;

/// Most parameters of one statement; the protocol counts them in 16 bits.
const PARAMETERS_MAX: usize = 256;

/// The answer of a wrapped statement.
const OBJECT: &str = "select row_to_json(tidegate)::text from tidegate limit 1";
const ARRAY: &str =
    "select '[' || coalesce(string_agg(row_to_json(tidegate)::text, ','), '') || ']' from tidegate";

/// A statement that PostgreSQL can prepare.
#[derive(Debug)]
pub struct SqlStatement {
    text: String,
    parameters: Vec<Parameter>,
}

/// Why a statement of the configuration cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StatementError {
    /// It does not begin like a statement that returns rows.
    #[error("it must begin with select, insert, update, delete, values, table or with")]
    NotRows,
    /// More than one statement.
    #[error("it must be one statement")]
    Several,
    /// One of its CTEs modifies data, which PostgreSQL allows only at the top level.
    #[error("its `with` modifies data, which cannot be wrapped; put it into a function")]
    ModifyingCte,
    /// `$1` instead of a named parameter.
    #[error("`{0}`: use :source.name instead of numbered parameters")]
    Positional(String),
    /// A colon before a name where PostgreSQL does not allow one.
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
    /// If the text is not one statement that can be wrapped, or names an unknown parameter.
    pub fn parse(sql: &str, single: bool) -> Result<Self, StatementError> {
        check_shape(sql)?;
        check_colons(sql)?;
        let mut parameters = Vec::new();
        let mut inner = String::with_capacity(sql.len());
        for piece in pieces(sql) {
            match piece {
                Piece::Parameter(text) => {
                    let number = number_of(text, &mut parameters)?;
                    // After a word `$1` would be read as part of it.
                    let space = if inner.ends_with(is_word) { " " } else { "" };
                    inner.push_str(&format!("{space}${number}"));
                }
                Piece::Positional(text) => return Err(StatementError::Positional(text.to_owned())),
                Piece::Punctuation(";") => {}
                other => inner.push_str(other.text()),
            }
        }
        Ok(Self {
            text: wrapped(inner.trim(), single),
            parameters,
        })
    }

    /// The same with an answer of one row less than parameter `limit` says, the first being 0; whether there
    /// was one; and the value that the last row of the answer has in a column, which has no double quotes in
    /// its name. There is none where the row left out has the same: the next page would pass it over.
    pub(super) fn in_pages(self, column: &str, limit: usize) -> Self {
        let limit = format!("${}::bigint", limit + 1);
        let inner = self.text.strip_suffix(ARRAY).unwrap_or(&self.text);
        let text = format!(
            "{inner}select '[' || coalesce(string_agg(line, ',' order by number) filter (where number < {limit}), '') \
             || ']', coalesce(bool_or(number >= {limit}), false), \
             nullif(max(cursor) filter (where number = {limit} - 1), max(cursor) filter (where number = {limit})) \
             from (select row_to_json(tidegate)::text as line, tidegate.\"{column}\"::text as cursor, \
             row_number() over () as number from tidegate) numbered"
        );
        Self { text, ..self }
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
    let answer = if single { OBJECT } else { ARRAY };
    format!("with tidegate as materialized ({inner}\n) {answer}")
}

/// The number of a parameter; a repeated name has the same number.
fn number_of(text: &str, parameters: &mut Vec<Parameter>) -> Result<usize, StatementError> {
    let unknown = || StatementError::UnknownSource(text.to_owned());
    let parameter = Parameter::parse(text).ok_or_else(unknown)?;
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

/// Refuses what is not allowed inside `with tidegate as ( … )`.
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

/// Refuses `:name` where it can only be a parameter of an unknown source. PostgreSQL itself has
/// colons inside brackets (the bounds of a slice) and after an operand inside parentheses
/// (`json_object('key' : value)`, `name := value`); PostgreSQL reports errors there.
fn check_colons(sql: &str) -> Result<(), StatementError> {
    let mut open = Vec::new();
    let mut behind_operand = false;
    let mut rest = sql;
    for piece in pieces(sql) {
        rest = &rest[piece.text().len()..];
        behind_operand = match piece {
            Piece::Blank(_) => continue,
            Piece::Colon(_) => {
                let name = unquoted_name(rest);
                let allowed = match open.last() {
                    Some(&"[") => true,
                    Some(_) => behind_operand,
                    None => false,
                };
                if !allowed && !name.is_empty() {
                    return Err(StatementError::UnknownSource(format!(":{name}")));
                }
                false
            }
            Piece::Punctuation(bracket @ ("(" | "[")) => {
                open.push(bracket);
                false
            }
            Piece::Punctuation(")" | "]") => {
                open.pop();
                true
            }
            Piece::Punctuation(_) => false,
            Piece::Word(_) | Piece::Parameter(_) | Piece::Positional(_) => true,
            Piece::Other(text) => text.ends_with(|c| is_word(c) || c == '\'' || c == '"'),
        };
    }
    Ok(())
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
            "select 1 -- :path.a\n, 2 -- :path.a\r, 3 /* :path.b /* nested */ :path.c */",
            "select '1'::int, a$1 from t",
        ] {
            assert_eq!(inner(sql), sql);
        }
    }

    #[test]
    fn slices_and_other_colons_of_postgresql_pass() {
        for sql in [
            "select a[1:2], a[:2], a[1:], a[:], a[1:n], a[lower.n:upper.n], a[ : n ][:m]",
            "select a[f(b[:n])], (array[1, 2])[:n]",
            "select json_object('a':b, 'c' : (d), (e):f, g:h, \"i\":j, 1:k, 'l':E'\\'')",
            "select make_interval(days := 1), f(a :=1), a <:> b",
            "select '1'::int::text, a::path.kind, b[1::int:2]",
        ] {
            assert_eq!(inner(sql), sql);
        }
    }

    #[test]
    fn a_bound_of_a_slice_may_be_a_parameter() {
        for (sql, expected) in [
            ("select a[:path.n::int:3]", "select a[$1::int:3]"),
            ("select a[1: :path.n::int]", "select a[1: $1::int]"),
            (
                "select a[:path.n : :path.m], json_object('k' : :path.n)",
                "select a[$1 : $2], json_object('k' : $1)",
            ),
            // PostgreSQL reports the error at start, and not as one of a column `n$1`.
            ("select a[n:path.m]", "select a[n $1]"),
        ] {
            assert_eq!(inner(sql), expected);
        }
    }

    #[test]
    fn a_name_behind_a_colon_that_can_only_be_meant_as_a_parameter_is_refused() {
        for (sql, name) in [
            ("select :cookie.a", ":cookie.a"),
            ("select * from t where a = :foo", ":foo"),
            ("select f(:foo)", ":foo"),
            ("select f(a, :Path.n)", ":Path.n"),
            ("select f(a[1:2] + :foo_1)", ":foo_1"),
            ("select a :path", ":path"),
            ("select a[f(:foo)]", ":foo"),
        ] {
            let error = SqlStatement::parse(sql, false).unwrap_err();
            assert_eq!(error, StatementError::UnknownSource(name.to_owned()));
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
            error("select :path."),
            StatementError::UnknownSource(":path.".to_owned())
        );
        let own = "with w as (insert into t values (1) returning *) select * from w";
        assert_eq!(error(own), StatementError::ModifyingCte);
        assert!(SqlStatement::parse("with w as (select 1) select * from w", false).is_ok());
        assert!(SqlStatement::parse("insert into t values (:body.a) returning *", true).is_ok());
    }
}

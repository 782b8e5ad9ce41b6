//! All names in a statement's text, which are then looked up in the catalogue.
//!
//! There is no parser here: a word counts as everything that it could name. What a statement calls
//! without naming it (a cast, an operator, an output function) follows from the types of what it
//! names.

use std::collections::BTreeSet;

use super::lexer::{Piece, pieces};

/// PostgreSQL truncates longer identifiers.
const NAME_BYTES_MAX: usize = 63;

/// Operators that keywords imply: `in`, `between`, `like`, `distinct`, `using`, `order by` and so
/// on.
const IMPLIED_OPERATORS: [&str; 12] = [
    "=", "<>", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~",
];

/// The names in one statement, or in several.
#[derive(Debug, Default, Clone)]
pub(super) struct Names {
    /// Words and quoted identifiers, as spelled in the catalogue.
    pub(super) words: BTreeSet<String>,
    /// Runs of operator characters; each may contain several operators.
    pub(super) operators: BTreeSet<String>,
    /// Whether a name is written with escapes, so that the words do not include it.
    pub(super) has_escapes: bool,
}

impl Names {
    /// Reads the names in a text.
    pub(super) fn of(text: &str) -> Self {
        let mut names = Self {
            operators: IMPLIED_OPERATORS.map(str::to_owned).into(),
            ..Self::default()
        };
        let mut run = String::new();
        let mut before = "";
        for piece in pieces(text) {
            let text = piece.text();
            if matches!(piece, Piece::Other(_)) && text.chars().all(is_operator) {
                run.push_str(text);
            } else if !run.is_empty() {
                names.operators.insert(std::mem::take(&mut run));
            }
            match piece {
                Piece::Word(word) => _ = names.words.insert(cut(word.to_ascii_lowercase())),
                Piece::Other(text) if text.starts_with('"') => {
                    names.has_escapes |= before == "&";
                    let inner = text.trim_start_matches('"').trim_end_matches('"');
                    names.words.insert(cut(inner.replace("\"\"", "\"")));
                }
                // Before PostgreSQL 15 a name may follow a number at once.
                Piece::Other(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                    let name = text.trim_start_matches(|c: char| c.is_ascii_digit());
                    names.words.insert(cut(name.to_ascii_lowercase()));
                }
                _ => {}
            }
            before = text;
        }
        names.operators.extend((!run.is_empty()).then_some(run));
        names
    }

    /// Adds the names of another text.
    pub(super) fn add(&mut self, other: Self) {
        self.words.extend(other.words);
        self.operators.extend(other.operators);
        self.has_escapes |= other.has_escapes;
    }

    /// Whether an operator may occur in one of the runs.
    pub(super) fn may_use(&self, operator: &str) -> bool {
        self.operators.iter().any(|run| run.contains(operator))
    }
}

fn is_operator(c: char) -> bool {
    "+-*/<>=~!@#%^&|`?".contains(c)
}

fn cut(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Names::of(text).words.into_iter().collect()
    }

    #[test]
    fn words_are_spelt_as_in_the_catalogue() {
        let text = r#"SELECT App.F("Tab""le".x) from "S".t -- not this
            where a = 'nor this' and b = $$ nor this $$"#;
        let expected = [
            "S", "Tab\"le", "a", "and", "app", "b", "f", "from", "select", "t", "where", "x",
        ];
        assert_eq!(words(text), expected);
        assert_eq!(words(&"É".repeat(40))[0].len(), 62);
        assert!(words("select 1from t").contains(&"from".to_owned()));
    }

    #[test]
    fn an_operator_is_found_in_a_run_of_several() {
        let names = Names::of("select a<->-b, c <=> d, e->'x'");
        for operator in ["<->", "-", "<=>", "->", "=", "~~"] {
            assert!(names.may_use(operator), "{operator}");
        }
        assert!(!names.may_use("&&") && !names.may_use("||"));
    }

    #[test]
    fn a_name_with_escapes_is_noticed() {
        assert!(Names::of(r#"select U&"d\0061ta"(1)"#).has_escapes);
        assert!(!Names::of(r#"select a & b, "data""#).has_escapes);
        // Bitwise "and" with a quoted column: treated as an escape, which costs only a reset.
        assert!(Names::of(r#"select a &"b""#).has_escapes);
    }
}

//! The causes of an error, for logs and messages.

use std::error::Error;
use std::iter::successors;

/// Joins an error and all its causes on one line, from the effect to the first cause. A cause is left out that the
/// error before it ends with.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in all(error).map(ToString::to_string) {
        let is_new = texts.last().is_none_or(|before| !before.ends_with(&text));
        if is_new {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// Returns the first cause, which states what happened, while the errors around it only state that
/// something failed.
pub fn first<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    all(error).last().unwrap_or(error)
}

fn all<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    fn told(text: &'static str, source: Option<Told>) -> Told {
        let source = source.map(Box::new);
        Told { text, source }
    }

    #[test]
    fn an_error_is_told_with_all_that_led_to_it() {
        let error = told("c", Some(told("b", Some(told("a", None)))));
        assert_eq!(chain(&error), "c: b: a");
        assert_eq!(first(&error).to_string(), "a");
        let error = told("c: b: a", Some(told("b: a", Some(told("a", None)))));
        assert_eq!(chain(&error), "c: b: a");
        let alone = told("alone", None);
        assert_eq!(
            (chain(&alone), first(&alone).to_string()),
            ("alone".into(), "alone".into())
        );
    }
}

//! The word that was probably intended, and lists of words in messages.

/// Most words that are compared: more than a file declares.
const COMPARED_MAX: usize = 1_000;

/// Returns the most similar word, if it differs by only a few letters.
pub(crate) fn similar<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let few = match length {
        0..=2 => 1,
        3..=5 => 2,
        6..=32 => 3,
        _ => return None,
    };
    let words = words.into_iter().take(COMPARED_MAX);
    let near = words.filter(|other| other.chars().count().abs_diff(length) <= few);
    let (distance, nearest) = near
        .map(|other| (distance(word, other), other))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= few && distance < length).then_some(nearest)
}

/// Levenshtein's distance, in characters.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// Writes `a`, `b` or `c`, in backquotes.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => format!("{} or `{last}`", listed(first)),
    }
}

/// Writes `a`, `b`, in backquotes.
pub(crate) fn listed(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

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

/// The distance of Damerau and Levenshtein, in characters: two that are swapped are one change (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().collect();
    let other: Vec<char> = other.chars().collect();
    let mut before_last = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[other.len()]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_letters_are_one_change() {
        for (one, other, expected) in [
            ("", "", 0),
            ("ta", "at", 1),
            ("rmap", "ramp", 1),
            ("becuase", "because", 1),
            ("kitten", "sitting", 3),
            ("abc", "", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one}");
            assert_eq!(distance(other, one), expected, "{one}");
        }
        assert_eq!(similar("yb", ["then", "by"]), Some("by"));
    }
}

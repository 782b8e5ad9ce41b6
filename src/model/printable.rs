//! Texts of others, fit for a terminal.

/// Returns a text without what a terminal obeys or what changes the order in which it is read: control characters,
/// line and paragraph separators, and bidirectional controls (Unicode Standard Annex 9).
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().filter(|it| is_printable(*it)).collect()
}

fn is_printable(character: char) -> bool {
    let is_obeyed = matches!(
        character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    !is_obeyed && !character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_left_out_and_all_else_stays() {
        let text = "a\u{1b}[2J\u{9b}31m\r\nb\u{202e}c\u{7}\0 é漢🙂";
        assert_eq!(printable(text), "a[2J31mbc é漢🙂");
    }
}

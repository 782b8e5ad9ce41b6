//! Texts of others, fit for a terminal.

/// Returns a text without what a terminal obeys, what changes the order in which it is read, and what cannot be seen:
/// control characters, line and paragraph separators, bidirectional controls (Unicode Standard Annex 9), and characters
/// without a shape such as the byte order mark.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().filter(|it| is_printable(*it)).collect()
}

/// Returns whether [`printable`] keeps a character.
#[must_use]
pub fn is_printable(character: char) -> bool {
    let is_obeyed = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
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
        assert_eq!(printable("\u{feff}a\u{ad}\u{2060}b\u{e0041}"), "ab");
    }
}

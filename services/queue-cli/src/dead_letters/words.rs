//! Texts of letters as they may be shown. Whoever can publish can write a letter, so none may move a terminal's cursor
//! or fill its screen.

/// The longest text of a letter that is shown, in characters.
pub(super) const WHOLE: usize = 2_000;

/// One line without control characters, cut where it is long.
pub(super) fn line(text: &str, longest: usize) -> String {
    let shown = text.chars().map(|c| if unsafe_to_show(c) { '\u{fffd}' } else { c });
    let mut line: String = shown.clone().take(longest).collect();
    if shown.count() > longest {
        line.push('…');
    }
    line
}

/// Control characters, and those that turn the direction of what follows.
fn unsafe_to_show(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_line() {
        assert_eq!(
            line("a\u{1b}[2Jb\r\n\u{202e}c", 100),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c"
        );
        assert_eq!(line("schön", 5), "schön");
        assert_eq!(line("schön", 4), "schö…");
        assert_eq!(line(&"x".repeat(1_000_000), WHOLE).chars().count(), WHOLE + 1);
    }
}

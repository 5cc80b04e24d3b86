//! Makes text from others harmless for a terminal: no escape sequences, no hidden or reordered text.

use std::fmt::Write;

/// Text in one line. Everything that could move the cursor or hide something is shown as an escape.
pub fn line(text: &str) -> String {
    escaped(text, |out, c| write!(out, "{}", c.escape_unicode()))
}

/// The text of a message. Its own line breaks stay, and each further line begins with `indent`, so that none can pass
/// for a message of somebody else.
pub fn paragraph(text: &str, indent: &str) -> String {
    let text = text.replace("\r\n", "\n");
    escaped(text.trim_end_matches('\n'), |out, c| match c {
        '\n' => write!(out, "\n{indent}"),
        '\t' => out.write_char('\t'),
        c => write!(out, "{}", c.escape_unicode()),
    })
}

fn escaped(text: &str, escape: impl Fn(&mut String, char) -> std::fmt::Result) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            // Writing to a `String` does not fail.
            let _ = escape(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters (C0, DEL, C1), and format characters that reorder or hide text (Unicode UAX #9, UTS #39).
/// Joiners stay: Indic scripts and emoji are made of them.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_are_shown() {
        assert_eq!(line("\x1b[2Jgone\u{9b}31m\x07"), "\\u{1b}[2Jgone\\u{9b}31m\\u{7}");
    }

    #[test]
    fn bidirectional_marks_are_shown() {
        assert_eq!(line("user\u{202e}gpj.exe\u{2066}\u{200f}"), "user\\u{202e}gpj.exe\\u{2066}\\u{200f}");
    }

    #[test]
    fn ordinary_text_stays() {
        for text in ["grüße", "👩‍👩‍👧 ❤️", "שלום", "नमस्ते", "a\\b"] {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn lines_of_a_message_are_indented_and_a_carriage_return_moves_nothing() {
        assert_eq!(paragraph("one\r\ntwo\n\tthree\rfour\n", "  "), "one\n  two\n  \tthree\\u{d}four");
        assert_eq!(line("one\ntwo"), "one\\u{a}two");
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left(text in any::<String>()) {
            prop_assert!(!line(&text).contains(is_harmful));
            prop_assert!(!paragraph(&text, "").contains(|c| is_harmful(c) && c != '\n' && c != '\t'));
        }
    }
}

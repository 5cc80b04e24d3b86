//! Decides which names, titles and email addresses count as the same. Only this file does, however a store compares
//! letters.

use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton as confusable_skeleton;

/// The key by which email addresses are compared.
pub fn email_key(email: &str) -> String {
    email.to_lowercase()
}

pub fn same_email(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    email_key(one) == email_key(other)
}

/// How many characters of a text are compared: no name or title has so many, and each takes some microseconds.
const LONGEST: usize = 256;

/// The key by which names and titles are compared, case-insensitively: texts that look the same have the same key (UTS
/// #39 §4).
///
/// A capital `I` looks like a small `l`, and in any case like a small `i`, so all three count as one. The key is empty
/// if nothing is visible.
pub fn skeleton(text: &str) -> String {
    let mut alike = String::new();
    text.chars().take(LONGEST).nfkc().filter(|c| !is_invisible(*c)).for_each(|c| push_prototype(c, &mut alike));
    // Nobody can tell several white spaces from one.
    alike.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The letters that a letter looks like, in any case: as a small letter, or else (Cyrillic `М`) as a capital.
fn push_prototype(letter: char, out: &mut String) {
    let small: String = letter.to_lowercase().collect();
    let mut shape: String = confusable_skeleton(&small).collect();
    if !shape.is_ascii() {
        let capital: String = confusable_skeleton(&small.to_uppercase()).collect();
        if capital.is_ascii() {
            shape = confusable_skeleton(&capital.to_lowercase()).collect();
        }
    }
    // Prototypes may be capital letters.
    let shape = shape.chars().flat_map(char::to_lowercase);
    out.extend(shape.map(|c| if c == 'i' { 'l' } else { c }));
}

/// Whether nothing is shown for a character (`Default_Ignorable_Code_Point` of Unicode 16, and controls).
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        // The blank Braille pattern, which is not white space.
        || c == '\u{2800}'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_email_addresses_only_case_makes_no_difference() {
        assert!(same_email("Alice@Example.ORG", "alice@example.org"));
        assert!(same_email("GRÜSSE@example.org", "grüsse@example.org"));
        // PostgreSQL's `lower` turns the first into an `i`.
        assert!(!same_email("alİce@example.org", "alice@example.org"));
        assert!(!same_email("ALİCE@example.org", "alice@example.org"));
    }

    #[test]
    fn what_looks_the_same_is_the_same() {
        for (one, other) in [
            ("Ann", "ANN"),
            ("Ann", " ann "),
            // Cyrillic, Greek, full width.
            ("Admin", "Аdmin"),
            ("Bob", "Βοb"),
            ("ADMIN", "ADМIN"),
            ("Мама", "мАМА"),
            ("Ann", "Ａｎｎ"),
            // Composed and decomposed.
            ("J\u{f6}rg", "Jo\u{308}rg"),
            // Invisible characters: zero width, soft hyphen, direction, variation.
            ("Ann", "A\u{200b}nn"),
            ("Ann", "An\u{ad}n\u{200d}"),
            ("Ann", "\u{202e}Ann"),
            ("Ann", "Ann\u{fe0f}"),
            ("Paypal", "PaypaI"),
            ("Room 1", "Room l"),
            ("Public Chat", "Public\u{a0}\u{2003}Chat"),
            ("Modern", "Modem"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn what_looks_different_is_different() {
        for (one, other) in
            [("Ann", "Anna"), ("Müller", "Muller"), ("Room 1", "Room 2"), ("日本", "日木"), ("😀", "😁")]
        {
            assert_ne!(skeleton(one), skeleton(other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn of_nothing_to_see_there_is_no_skeleton() {
        for text in ["", " ", "\u{200b}", "\u{3164}\u{2800}", "\u{e0041}\u{fe0f}"] {
            assert_eq!(skeleton(text), "", "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn case_and_normal_form_never_make_a_difference(text in "[a-zA-Z0-9äöüÄÖÜßéñ ]{0,20}") {
            prop_assert_eq!(skeleton(&text.nfd().collect::<String>()), skeleton(&text.nfc().collect::<String>()));
            prop_assert_eq!(skeleton(&text.to_lowercase()), skeleton(&text));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = skeleton(&text);
        }
    }
}

//! JSON as clients write it, where serde_json accepts less.

use crate::flat_json;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// More fields than any frame has; a frame with more is no frame.
const MAX_FIELDS: usize = 256;

/// Parses `text` as an object. A lone surrogate becomes U+FFFD: JavaScript's `JSON.stringify` writes one (`"\ud83d"`)
/// for a text that was cut inside an emoji, and serde_json refuses the whole object for it.
///
/// Nested lists and objects are empty.
pub fn object(text: &str) -> Option<Map<String, Value>> {
    read(text).or_else(|| match mended(text) {
        Cow::Borrowed(_) => None,
        Cow::Owned(mended) => read(&mended),
    })
}

fn read(text: &str) -> Option<Map<String, Value>> {
    flat_json::object(text.as_bytes(), MAX_FIELDS)
}

/// A whole number in any notation: `10`, `10.0` and `1e1` are one number in JSON (RFC 8259 §6).
pub fn whole(value: &Value) -> Option<i64> {
    // Up to this number a double is exact for all whole numbers (RFC 8259 §6).
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let of_float = |number: f64| (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(of_float))
}

/// Replaces each escape of a lone surrogate. A backslash outside of a string is not JSON anyway.
fn mended(text: &str) -> Cow<'_, str> {
    let mut mended = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        at += found;
        let escape = &text[at..];
        at += match unit(escape) {
            Some(0xD800..=0xDBFF) if matches!(escape.get(6..).and_then(unit), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                mended.push_str(&text[copied..at]);
                mended.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            Some(_) => 6,
            // Two characters. The second may be a backslash, or have several bytes in a text that is not JSON.
            None => escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end),
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    mended.push_str(&text[copied..]);
    Cow::Owned(mended)
}

/// The UTF-16 code unit of an escape `\uXXXX` at the start of `text`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // `from_str_radix` alone would accept a sign.
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn text_of(json: &str) -> Option<String> {
        object(json)?.get("a")?.as_str().map(str::to_owned)
    }

    #[test]
    fn a_lone_surrogate_is_a_replacement_character() {
        for (written, read) in [
            (r#"{"a":"cut \ud83d"}"#, "cut \u{fffd}"),
            (r#"{"a":"\uDE00 cut"}"#, "\u{fffd} cut"),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (r#"{"a":"\ud83d\n\\\ud83d"}"#, "\u{fffd}\n\\\u{fffd}"),
            (r#"{"a":"\\ud83d \ud83d"}"#, "\\ud83d \u{fffd}"),
        ] {
            assert_eq!(text_of(written).as_deref(), Some(read), "{written}");
        }
    }

    #[test]
    fn what_is_no_object_stays_none() {
        for text in ["", "[]", "{", r#"{"a":"\ud83d""#, r#"{"a":"\ud83"}"#, r#"{"a":"\é\ud83d"}"#, r#"{"a":"\u+123"}"#]
        {
            assert_eq!(object(text), None, "{text}");
        }
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_fraction_or_an_exponent() {
        for (written, read) in [("10", 10), ("10.0", 10), ("1e1", 10), ("-0.0", 0), ("-3.0", -3)] {
            let value: Value = serde_json::from_str(written).unwrap();
            assert_eq!(whole(&value), Some(read), "{written}");
        }
        for no in [json!(10.5), json!("10"), json!(null), json!(1e300), json!(u64::MAX)] {
            assert_eq!(whole(&no), None, "{no}");
        }
    }

    proptest! {
        #[test]
        fn any_units_are_read_as_javascript_would_write_them(units: Vec<u16>) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            prop_assert_eq!(text_of(&format!(r#"{{"a":"{escaped}"}}"#)), Some(String::from_utf16_lossy(&units)));
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC*|\\{\"a\":\"(\\\\|u|d8|[0-9a-f]|é)*\"\\}") {
            let _ = object(&text);
        }
    }
}

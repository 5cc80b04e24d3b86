//! Shortens JSON from strangers and bounds its depth, so that reading it costs little memory.

use std::io::{self, Read};

/// About how many bytes of each text are kept.
const MAX_TEXT: usize = 2048;

/// How many lists and objects may be nested: serde_json keeps something of each, even of those that it skips.
const MAX_DEPTH: usize = 128;

/// Passes JSON on with all long texts shortened, so that its reader holds little at a time, whatever the input. Fails with
/// [`io::ErrorKind::InvalidData`] if too much is nested.
pub struct Shortened<R> {
    inner: R,
    state: State,
    /// How many bytes of the present text were passed on.
    length: usize,
    /// Whether the text so far ends in half a character: the first of two escapes (RFC 8259 §7).
    half: bool,
    /// How many lists and objects are open.
    depth: usize,
}

#[derive(Clone, Copy)]
enum State {
    Outside,
    Text,
    /// After a backslash.
    Escape,
    /// This many hexadecimal digits are still to come, after the value of those that were read.
    Hex(u8, u16),
    /// The rest of a text is dropped; the second state is the same after a backslash.
    Dropping,
    DroppingEscape,
}

impl<R> Shortened<R> {
    pub fn new(inner: R) -> Shortened<R> {
        Shortened { inner, state: State::Outside, length: 0, half: false, depth: 0 }
    }

    /// Whether to pass this byte on.
    fn keep(&mut self, byte: u8) -> bool {
        match (self.state, byte) {
            (State::Outside, b'"') => {
                (self.length, self.half) = (0, false);
                self.state = State::Text;
            }
            (State::Outside, b'[' | b'{') => self.depth += 1,
            (State::Outside, b']' | b'}') => self.depth = self.depth.saturating_sub(1),
            (State::Outside, _) => {}
            (State::Text | State::Dropping, b'"') => self.state = State::Outside,
            // A cut is made before a character, never inside one.
            (State::Text, byte) if self.length >= MAX_TEXT && !self.half && (byte.is_ascii() || byte >= 0xc0) => {
                self.state = if byte == b'\\' { State::DroppingEscape } else { State::Dropping };
                return false;
            }
            (State::Text, b'\\') => self.state = State::Escape,
            (State::Text, _) => self.half = false,
            (State::Escape, b'u') => self.state = State::Hex(4, 0),
            (State::Escape, _) => {
                self.half = false;
                self.state = State::Text;
            }
            (State::Hex(left, digits), byte) => {
                let digits = digits << 4 | char::from(byte).to_digit(16).unwrap_or_default() as u16;
                self.state = State::Hex(left - 1, digits);
                if left == 1 {
                    self.half = (0xd800..0xdc00).contains(&digits);
                    self.state = State::Text;
                }
            }
            (State::Dropping, b'\\') => {
                self.state = State::DroppingEscape;
                return false;
            }
            (State::Dropping, _) => return false,
            (State::DroppingEscape, _) => {
                self.state = State::Dropping;
                return false;
            }
        }
        self.length += 1;
        true
    }
}

impl<R: Read> Read for Shortened<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(out)?;
            if read == 0 {
                return Ok(0);
            }
            let mut kept = 0;
            for at in 0..read {
                if self.keep(out[at]) {
                    out[kept] = out[at];
                    kept += 1;
                }
                if self.depth > MAX_DEPTH {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn shortened(json: &str) -> String {
        let mut out = String::new();
        Shortened::new(json.as_bytes()).read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn a_long_text_is_cut_and_what_follows_stays() {
        let escaped = format!(r#""{}""#, r"\ud83d\ude00".repeat(9_000));
        let json = format!(r#"{{"a":"{}","b":{escaped},"c":"end"}}"#, "x".repeat(100_000));
        let short = shortened(&json);
        assert!(short.len() < 2 * MAX_TEXT + 100, "{}", short.len());
        let short: Value = serde_json::from_str(&short).unwrap();
        assert!(short["a"].as_str().unwrap().bytes().all(|b| b == b'x'));
        assert!(short["b"].as_str().unwrap().chars().all(|c| c == '\u{1f600}'));
        assert_eq!(short["c"], "end");
    }

    #[test]
    fn what_is_nested_too_deep_ends_there_and_brackets_in_texts_do_not_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(shortened(&nested(MAX_DEPTH)), nested(MAX_DEPTH));
        let text = format!(r#"["{}"]"#, "[".repeat(1_000));
        assert_eq!(shortened(&text), text);
        let deep = nested(MAX_DEPTH + 1);
        let error = Shortened::new(deep.as_bytes()).read_to_string(&mut String::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn what_is_short_stays_as_it_is(text in ".{0,200}") {
            let json = serde_json::json!([{"text": text}, text]).to_string();
            prop_assert_eq!(shortened(&json), json);
        }

        #[test]
        fn cut_anywhere_it_stays_json(start in "[a-z]{2030,2050}", text in ".{0,60}") {
            let json = serde_json::json!({"text": format!("{start}{text}"), "end": 1}).to_string();
            prop_assert_eq!(&serde_json::from_str::<Value>(&shortened(&json)).unwrap()["end"], 1);
        }
    }
}

//! JSON of frames, written straight into the buffer that is sent, without values in between.

use crate::message::MessageId;
use std::io::Write;

/// Appends `text` as a JSON string (RFC 8259 §7).
pub fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string into memory can't fail");
}

/// Appends an id, quoted.
pub fn id(out: &mut Vec<u8>, id: MessageId) {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    out.push(b'"');
    out.extend_from_slice(id.0.as_hyphenated().encode_lower(&mut buffer).as_bytes());
    out.push(b'"');
}

/// Appends the time of an id, quoted: RFC 3339, UTC, milliseconds.
pub fn timestamp(out: &mut Vec<u8>, id: MessageId) {
    time(out, id.millis());
}

/// The time of an id as a text: RFC 3339, UTC, milliseconds.
pub fn time_of(id: MessageId) -> String {
    format!("{:.3}", moment(id.millis()))
}

/// Appends a time in Unix milliseconds, quoted, in the same form.
pub fn time(out: &mut Vec<u8>, millis: u64) {
    write!(out, "\"{:.3}\"", moment(millis)).expect("writing into memory can't fail");
}

fn moment(millis: u64) -> jiff::Timestamp {
    // 48 bits of milliseconds go beyond the years that RFC 3339 can write.
    jiff::Timestamp::from_millisecond(millis as i64).unwrap_or(jiff::Timestamp::MAX)
}

/// `{"success":false,"reason":word,"message":sentence}`: how the Propromo door and refused handshakes report a refusal.
pub fn refusal(word: &str, sentence: &str) -> String {
    serde_json::json!({ "success": false, "reason": word, "message": sentence }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_time_has_three_digits_of_a_second() {
        let at = |millis: u64| MessageId(Uuid::from_u64_pair(millis << 16 | 0x7000, 0x8000 << 48));
        assert_eq!(written(|out| timestamp(out, at(1_767_323_045_678))), "\"2026-01-02T03:04:05.678Z\"");
        assert_eq!(written(|out| timestamp(out, at(1_767_323_045_000))), "\"2026-01-02T03:04:05.000Z\"");
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in ".*") {
            let json = written(|out| string(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}

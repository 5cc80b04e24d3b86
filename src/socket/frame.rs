//! Frames of the server (RFC 6455 §5.2): never masked, never fragmented, encoded once and shared.

use super::{close::Close, memory};
use bytes::Bytes;

const FINAL: u8 = 0x80;
const TEXT: u8 = FINAL | 0x1;
const CLOSE: u8 = FINAL | 0x8;
const PING: u8 = FINAL | 0x9;

/// Room for the header of a frame of unknown length. Most messages have 126 to 65,535 bytes and need this form.
const USUAL_HEADER: usize = 4;

/// Appends a text frame; `write` appends its payload.
pub fn text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[TEXT, 126, 0, 0]);
    write(out);
    let payload = out.len() - start - USUAL_HEADER;
    match payload {
        0..126 => {
            out[start + 1] = payload as u8;
            out.copy_within(start + USUAL_HEADER.., start + 2);
            out.truncate(start + 2 + payload);
        }
        126..=0xffff => out[start + 2..start + USUAL_HEADER].copy_from_slice(&(payload as u16).to_be_bytes()),
        _ => {
            let mut header = [0; 8 + 2];
            header[..2].copy_from_slice(&[TEXT, 127]);
            header[2..].copy_from_slice(&(payload as u64).to_be_bytes());
            out.splice(start..start + USUAL_HEADER, header);
        }
    }
}

/// The same, but no frame if `write` appends nothing.
pub fn text_if_any(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    text(out, write);
    if out.len() == start + 2 {
        out.truncate(start);
    }
}

/// One text frame on its own.
pub fn text_of(payload: &str) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + USUAL_HEADER);
    text(&mut out, |out| out.extend_from_slice(payload.as_bytes()));
    memory::counted(out)
}

/// A close frame (RFC 6455 §5.5.1).
pub fn close(close: Close) -> Bytes {
    let reason = close.reason.as_bytes();
    let reason = &reason[..reason.len().min(123)];
    let mut out = Vec::with_capacity(4 + reason.len());
    out.extend_from_slice(&[CLOSE, 2 + reason.len() as u8]);
    out.extend_from_slice(&close.code.to_be_bytes());
    out.extend_from_slice(reason);
    out.into()
}

/// An empty ping.
pub fn ping() -> Bytes {
    Bytes::from_static(&[PING, 0])
}

/// Whether the bytes begin with a close frame.
pub fn is_close(bytes: &[u8]) -> bool {
    bytes.first() == Some(&CLOSE)
}

/// The first frame boundary at or after `sent`, in bytes that hold whole server frames.
///
/// A dropped member may have been sent half a frame. The other half must follow before the close frame, or the close
/// frame would be read as payload.
pub fn boundary(frames: &[u8], sent: usize) -> usize {
    let mut at = 0;
    while at < sent && at + 2 <= frames.len() {
        let (header, payload) = match frames[at + 1] & 0x7f {
            126 => (4, frames.get(at + 2..at + 4).map_or(0, |b| u64::from(u16::from_be_bytes([b[0], b[1]])))),
            127 => (
                10,
                frames
                    .get(at + 2..at + 10)
                    .map_or(0, |b| u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])),
            ),
            short => (2, u64::from(short)),
        };
        at = at.saturating_add(header).saturating_add(payload as usize);
    }
    at.min(frames.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;
    use tungstenite::protocol::{Role, WebSocket};

    fn read_back(wire: &[u8], count: usize) -> Vec<String> {
        let mut client = WebSocket::from_raw_socket(Cursor::new(wire.to_vec()), Role::Client, None);
        (0..count).map(|_| client.read().unwrap().into_text().unwrap().to_string()).collect()
    }

    #[test]
    fn each_length_form_is_read_back() {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x10000, 100_000] {
            let payload = "x".repeat(length);
            assert_eq!(read_back(&text_of(&payload), 1), [payload]);
        }
    }

    proptest! {
        #[test]
        fn joined_frames_are_read_back_in_order(payloads in prop::collection::vec(".{0,300}", 1..8)) {
            let mut wire = Vec::new();
            for payload in &payloads {
                text(&mut wire, |out| out.extend_from_slice(payload.as_bytes()));
            }
            prop_assert_eq!(read_back(&wire, payloads.len()), payloads);
        }

        #[test]
        fn a_boundary_is_where_a_frame_ends(payloads in prop::collection::vec(".{0,200}", 1..6), cut in 0.0..1.0f64) {
            let mut wire = Vec::new();
            let mut ends = vec![0];
            for payload in &payloads {
                text(&mut wire, |out| out.extend_from_slice(payload.as_bytes()));
                ends.push(wire.len());
            }
            let sent = (wire.len() as f64 * cut) as usize;
            let expected = ends.into_iter().find(|end| *end >= sent).unwrap();
            prop_assert_eq!(boundary(&wire, sent), expected);
        }
    }
}

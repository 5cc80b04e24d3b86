//! Checks what tungstenite leaves unchecked in a client's frames: lengths that are not in their shortest form, and
//! messages in endless fragments.

use super::close::Close;

/// Most frames of one message. A client that sends 16 KiB in ordinary fragments needs a few. Empty fragments would cost
/// work for ever and never reach the bound of a message.
const MAX_FRAGMENTS: u32 = 1024;

/// Bytes of the longest header, without its mask.
const MAX_HEADER: usize = 10;

/// Follows the frames (RFC 6455 §5.2) in what a client sends, before tungstenite reads it.
#[derive(Default)]
pub struct Framing {
    /// The header so far.
    header: [u8; MAX_HEADER],
    arrived: usize,
    /// How many bytes of mask and payload are still to come.
    rest: u64,
    /// How many frames the current message has so far.
    fragments: u32,
    fault: Option<Close>,
}

impl Framing {
    /// How many of these bytes may be passed on: all, or those before a fault.
    pub fn check(&mut self, bytes: &[u8]) -> usize {
        let (mut at, mut sound) = (0, 0);
        while at < bytes.len() {
            if self.fault.is_some() {
                return sound;
            }
            if self.rest > 0 {
                let there = self.rest.min((bytes.len() - at) as u64);
                self.rest -= there;
                at += there as usize;
                sound = at;
                continue;
            }
            self.header[self.arrived] = bytes[at];
            self.arrived += 1;
            at += 1;
            if self.arrived == self.header_length() {
                match self.begin() {
                    Ok(rest) => (self.rest, sound) = (rest, at),
                    Err(close) => self.fault = Some(close),
                }
                self.arrived = 0;
            }
        }
        if self.fault.is_some() { sound } else { bytes.len() }
    }

    /// Why no more bytes may be passed on, if so.
    pub fn fault(&self) -> Option<Close> {
        self.fault
    }

    /// The length of the header, as far as it is known yet.
    fn header_length(&self) -> usize {
        match (self.arrived, self.header[1] & 0x7f) {
            (0 | 1, _) => 2,
            (_, 126) => 4,
            (_, 127) => MAX_HEADER,
            _ => 2,
        }
    }

    /// Begins a frame whose header is complete. Returns how many bytes it still has.
    fn begin(&mut self) -> Result<u64, Close> {
        let [first, second, long @ ..] = self.header;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let (length, shortest) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([long[0], long[1]])), 126),
            127 => (u64::from_be_bytes(long), 1 << 16),
            short => (short.into(), 0),
        };
        // "The minimal number of bytes MUST be used", and "the most significant bit MUST be 0" (RFC 6455 §5.2).
        if length < shortest || length > i64::MAX as u64 {
            return Err(Close::PROTOCOL);
        }
        match first & 0x0f {
            0 => self.fragments += 1,
            1..8 => self.fragments = 1,
            // Control frames may come between fragments.
            _ => {}
        }
        if self.fragments > MAX_FRAGMENTS {
            return Err(Close::FRAGMENTS);
        }
        Ok(length + mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };

    /// A masked frame in the shortest form.
    fn frame(opcode: OpCode, last: bool, length: usize) -> Vec<u8> {
        let mut frame = Frame::message(vec![b'x'; length], opcode, last);
        frame.header_mut().mask = Some([1, 2, 3, 4]);
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn text(length: usize) -> Vec<u8> {
        frame(OpCode::Data(Data::Text), true, length)
    }

    /// How many bytes pass when they arrive in pieces, and the fault in the rest.
    fn checked(bytes: &[u8], piece: usize) -> (usize, Option<Close>) {
        let mut framing = Framing::default();
        let sound = bytes.chunks(piece).map(|piece| framing.check(piece)).sum();
        (sound, framing.fault())
    }

    #[test]
    fn a_length_in_a_longer_form_than_it_needs_is_a_fault() {
        for header in [
            vec![0x81, 0xfe, 0, 0],
            vec![0x81, 0xfe, 0, 125],
            vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 125],
            vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(checked(&header, 100), (0, Some(Close::PROTOCOL)), "{header:?}");
        }
    }

    #[test]
    fn what_is_in_front_of_a_fault_is_let_through_and_nothing_behind_it() {
        let mut bytes = text(5);
        let sound = bytes.len();
        bytes.extend([0x81, 0xfe, 0, 1, 0, 0, 0, 0, b'x']);
        assert_eq!(checked(&bytes, 1000), (sound, Some(Close::PROTOCOL)));
    }

    #[test]
    fn a_message_has_so_many_fragments_and_no_more() {
        let fragments = |count: usize| {
            let mut bytes = frame(OpCode::Data(Data::Text), false, 0);
            bytes.extend(frame(OpCode::Data(Data::Continue), false, 0).repeat(count - 1));
            bytes
        };
        let most = MAX_FRAGMENTS as usize;
        let two_messages = fragments(most).repeat(2);
        assert_eq!(checked(&two_messages, 4096), (two_messages.len(), None));
        assert_eq!(checked(&fragments(most + 1), 4096).1, Some(Close::FRAGMENTS));
    }

    proptest! {
        #[test]
        fn frames_in_shortest_form_pass_however_they_are_cut(
            lengths in prop::collection::vec(prop_oneof![0..200usize, 65_500..65_600usize], 1..5), piece in 1..5000usize,
        ) {
            let bytes: Vec<u8> = lengths.into_iter().flat_map(text).collect();
            prop_assert_eq!(checked(&bytes, piece), (bytes.len(), None));
        }

        #[test]
        fn how_bytes_are_cut_decides_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50usize) {
            let (whole, pieces) = (checked(&bytes, bytes.len().max(1)), checked(&bytes, piece));
            prop_assert_eq!(whole.1, pieces.1);
            // The first piece of a header that came in two pieces has been passed on already.
            prop_assert!(whole.0 <= pieces.0 && pieces.0 < whole.0 + MAX_HEADER);
        }
    }
}

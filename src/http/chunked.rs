//! Decodes a chunked body (RFC 9112 §7.1); each part of it is bounded.

use crate::refusal::{Reason, Refusal};

/// Most bytes of one line: a chunk's size with its extensions, or a trailer.
const MAX_LINE: usize = 1024;
/// Most bytes of all lines, besides those that the content pays for.
const MAX_FRAMING: usize = 16 * 1024;
/// How many bytes of framing each byte of content pays for: `1 CR LF x CR LF` is the most wasteful honest chunk.
const FRAMING_PER_BYTE: usize = 5;

/// Decodes one body while it arrives.
pub struct Decoder {
    state: State,
    body: Vec<u8>,
    /// How many bytes of content were taken out before.
    taken_out: usize,
    max_body: usize,
    framing: usize,
}

enum State {
    Size,
    Content(usize),
    ContentEnd,
    Trailers,
    Done,
}

impl Decoder {
    /// A decoder for a body of at most `max_body` bytes.
    pub fn new(max_body: usize) -> Decoder {
        Decoder { state: State::Size, body: Vec::new(), taken_out: 0, max_body, framing: 0 }
    }

    /// Takes what it can of `input`, and returns how many bytes that was. Offer the rest again, with more behind it.
    /// Takes nothing behind the end of the body.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            match self.state {
                State::Content(left) => {
                    let part = &rest[..left.min(rest.len())];
                    self.body.extend_from_slice(part);
                    taken += part.len();
                    if part.len() < left {
                        self.state = State::Content(left - part.len());
                        return Ok(taken);
                    }
                    self.state = State::ContentEnd;
                }
                State::Done => return Ok(taken),
                State::Size | State::ContentEnd | State::Trailers => {
                    let Some(line) = line(rest)? else { return Ok(taken) };
                    taken += line.len() + 2;
                    self.framing += line.len() + 2;
                    if self.framing > MAX_FRAMING + FRAMING_PER_BYTE * self.received() {
                        return Err(malformed("The chunks of the body are mostly framing."));
                    }
                    self.state = self.after(line)?;
                }
            }
        }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many bytes of content have arrived.
    pub fn received(&self) -> usize {
        self.taken_out + self.body.len()
    }

    /// The content since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        self.taken_out += self.body.len();
        std::mem::take(&mut self.body)
    }

    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    fn after(&self, line: &[u8]) -> Result<State, Refusal> {
        match self.state {
            State::Size => match size(line)? {
                0 => Ok(State::Trailers),
                size if size > self.max_body - self.received() => Err(Reason::BodyTooLarge.into()),
                size => Ok(State::Content(size)),
            },
            State::ContentEnd if line.is_empty() => Ok(State::Size),
            State::ContentEnd => Err(malformed("A chunk of the body is longer than its size says.")),
            // Trailers are dropped: nothing needs them, and as headers they could undo checks.
            State::Trailers if line.is_empty() => Ok(State::Done),
            State::Trailers => Ok(State::Trailers),
            State::Content(_) | State::Done => unreachable!("only lines come here"),
        }
    }
}

/// The line at the start of `input`, without its CR LF; `None` if it is not complete yet.
fn line(input: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let window = &input[..input.len().min(MAX_LINE)];
    // A lone CR, a lone LF and other control characters are refused at once, because readers treat them differently.
    let Some(end) = window.iter().position(|&byte| byte.is_ascii_control() && byte != b'\t') else {
        return if input.len() < MAX_LINE {
            Ok(None)
        } else {
            Err(malformed("A line in the body's framing is too long."))
        };
    };
    match input[end..] {
        [b'\r', b'\n', ..] => Ok(Some(&input[..end])),
        [b'\r'] => Ok(None),
        _ => Err(malformed("A line in the body's framing does not end in CR LF.")),
    }
}

/// The size on the first line of a chunk; extensions are ignored (RFC 9112 §7.1.1).
fn size(line: &[u8]) -> Result<usize, Refusal> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let hex = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hex.and_then(|text| usize::from_str_radix(text, 16).ok()).ok_or(malformed("The size of a chunk is not a number."))
}

fn malformed(sentence: &'static str) -> Refusal {
    Refusal::new(Reason::BadRequest, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type BodyAndRest = (Vec<u8>, Vec<u8>);

    /// Decodes `input` as if it arrived in pieces. The second part of the result is what follows the body.
    fn decode(input: &[u8], piece: usize, max_body: usize) -> Result<Option<BodyAndRest>, Refusal> {
        let mut decoder = Decoder::new(max_body);
        let mut waiting = Vec::new();
        for piece in input.chunks(piece) {
            waiting.extend_from_slice(piece);
            let taken = decoder.feed(&waiting)?;
            waiting.drain(..taken);
        }
        Ok(decoder.is_done().then_some((decoder.body, waiting)))
    }

    fn refused(input: &[u8]) -> Reason {
        decode(input, 3, 1000).unwrap_err().reason
    }

    #[test]
    fn a_body_ends_where_it_says() {
        let input = b"5;name=\"v\"\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\nGET /";
        let (body, rest) = decode(input, 1, 100).unwrap().unwrap();
        assert_eq!((body.as_slice(), rest.as_slice()), (&b"hello!"[..], &b"GET /"[..]));
    }

    #[test]
    fn an_unfinished_body_is_waited_for() {
        assert!(decode(b"5\r\nhello\r\n0\r\n", 100, 100).unwrap().is_none());
    }

    #[test]
    fn a_body_over_the_limit_is_refused_by_its_size_line() {
        assert_eq!(decode(b"6\r\n", 9, 5).unwrap_err().reason, Reason::BodyTooLarge);
        assert_eq!(decode(b"3\r\nabc\r\n3\r\n", 20, 5).unwrap_err().reason, Reason::BodyTooLarge);
        assert_eq!(decode(b"ffffffffffffffff\r\n", 20, 5).unwrap_err().reason, Reason::BodyTooLarge);
    }

    #[test]
    fn sizes_that_readers_take_differently_are_refused() {
        for input in ["+5\r\n", "0x5\r\n", " 5\r\n", "5 \r\n", "\r\n", ";x\r\n", "5\n", "5\rx", "10000000000000000\r\n"]
        {
            assert_eq!(refused(input.as_bytes()), Reason::BadRequest, "{input:?}");
        }
    }

    #[test]
    fn content_longer_than_its_size_is_refused() {
        assert_eq!(refused(b"2\r\nabc\r\n"), Reason::BadRequest);
    }

    #[test]
    fn long_lines_and_endless_trailers_are_refused() {
        assert_eq!(refused(&[b"5;".as_slice(), &[b'x'; MAX_LINE]].concat()), Reason::BadRequest);
        assert_eq!(
            refused(&[b"0\r\n".as_slice(), &b"A: b\r\n".repeat(MAX_FRAMING / 6 + 1)].concat()),
            Reason::BadRequest
        );
    }

    proptest! {
        #[test]
        fn what_is_chunked_comes_back(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8), piece in 1usize..20,
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend(format!("{:x}\r\n", chunk.len()).bytes());
                input.extend(chunk);
                input.extend(b"\r\n");
            }
            input.extend(b"0\r\n\r\nnext");
            let (body, rest) = decode(&input, piece, 1000).unwrap().unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert_eq!(rest, b"next");
        }

        #[test]
        fn one_byte_chunks_up_to_the_limit_are_taken(length in 1usize..3000) {
            let input = [b"1\r\nx\r\n".repeat(length), b"0\r\n\r\n".to_vec()].concat();
            prop_assert_eq!(decode(&input, 4096, length).unwrap().unwrap().0.len(), length);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..20) {
            if let Ok(Some((body, _))) = decode(&bytes, piece, 50) {
                prop_assert!(body.len() <= 50);
            }
        }
    }
}

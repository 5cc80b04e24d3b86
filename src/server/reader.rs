//! Reads requests from a connection one after the other. Each part is bounded in size and time.

use super::{pace::Pace, tls::HANDSHAKE_RECORD};
use crate::{
    config::Limits,
    http::{
        chunked::Decoder,
        head::{BodyLength, Head},
    },
    refusal::{Reason, Refusal},
};
use ipnet::IpNet;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, TcpStream},
    time::Duration,
};

/// How many bytes are asked of the kernel at a time.
const READ_SIZE: usize = 8 * 1024;

/// The reading side of a connection, with the bytes that have arrived and are not used yet.
pub struct Reader<'a> {
    stream: &'a TcpStream,
    peer: IpAddr,
    limits: &'a Limits,
    trusted: &'a [IpNet],
    buffer: Vec<u8>,
    /// The present time-out of the socket, so that it is not set again for each request.
    timeout: Option<Duration>,
}

/// Why no further request can be read.
#[derive(Debug)]
pub enum End {
    /// The client is gone, or sent no request in time: there is nobody to answer.
    Quiet,
    /// The client gets this answer before the connection is closed.
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

impl<'a> Reader<'a> {
    pub fn new(stream: &'a TcpStream, peer: IpAddr, limits: &'a Limits, trusted: &'a [IpNet]) -> Reader<'a> {
        Reader { stream, peer, limits, trusted, buffer: Vec::new(), timeout: None }
    }

    /// Reads the head of the next request. Waits `idle_http` for its first byte, and `head_deadline` from then on for
    /// its end.
    pub fn head(&mut self) -> Result<Head, End> {
        if self.buffer.is_empty() {
            // A waiting connection should cost next to nothing.
            self.buffer = Vec::new();
            self.receive(self.limits.idle_http, End::Quiet)?;
        }
        if self.buffer.first() == Some(&HANDSHAKE_RECORD) {
            // At once: a TLS record may never contain the line end after which a head is parsed.
            let sentence =
                "This port speaks plain HTTP: use http:// or ws:// in the address, or set TLS_CERT and TLS_KEY.";
            return Err(Refusal::new(Reason::BadRequest, sentence).into());
        }
        let pace = Pace::start(self.limits.head_deadline);
        let mut unparsed = true;
        loop {
            if unparsed && let Some((head, length)) = Head::parse(&self.buffer, self.peer, self.trusted)? {
                if length > self.limits.max_head {
                    return Err(Refusal::from(Reason::HeadTooLarge).into());
                }
                self.buffer.drain(..length);
                return Ok(head);
            }
            if self.buffer.len() > self.limits.max_head {
                return Err(Refusal::from(Reason::HeadTooLarge).into());
            }
            let before = self.buffer.len();
            // Arriving bytes do not extend the time here: heads are small, and sending them slowly is an old attack.
            let left = pace.left(0).ok_or(too_slow())?;
            self.receive(left, too_slow())?;
            // Only the end of a line can complete a head, or make it wrong in a way that is worth finding early.
            // Parsing after each byte would let a client cause much work with few bytes.
            unparsed = self.buffer[before..].contains(&b'\n');
        }
    }

    /// Reads the body of the request whose head was read last. After an error, close the connection.
    pub fn body(&mut self, head: &Head) -> Result<Vec<u8>, End> {
        match head.body {
            BodyLength::Known(0) => Ok(Vec::new()),
            BodyLength::Known(length) => match usize::try_from(length) {
                Ok(length) if length <= self.limits.max_body => self.known_body(head, length),
                _ => Err(Refusal::from(Reason::BodyTooLarge).into()),
            },
            BodyLength::Chunked => self.chunked_body(head),
        }
    }

    /// The same body, of at most `most` bytes, to be read as it arrives. Read all of it before the next head.
    pub fn streamed(&mut self, head: &Head, most: usize) -> Result<Streamed<'_, 'a>, End> {
        let left = match head.body {
            BodyLength::Known(length) => match usize::try_from(length) {
                Ok(length) if length <= most => Left::Known(length),
                _ => return Err(Refusal::from(Reason::BodyTooLarge).into()),
            },
            BodyLength::Chunked => Left::Chunked(Decoder::new(most)),
        };
        if self.buffer.is_empty() && !matches!(left, Left::Known(0)) {
            self.invite(head)?;
        }
        let pace = Pace::start(self.limits.head_deadline);
        Ok(Streamed { reader: self, left, pace, received: 0, end: None })
    }

    /// What has arrived behind the last request.
    pub fn into_early(self) -> Vec<u8> {
        self.buffer
    }

    fn known_body(&mut self, head: &Head, length: usize) -> Result<Vec<u8>, End> {
        if self.buffer.len() < length {
            self.invite(head)?;
        }
        let pace = Pace::start(self.limits.head_deadline);
        while self.buffer.len() < length {
            let left = pace.left(self.buffer.len()).ok_or(too_slow())?;
            self.receive(left, too_slow())?;
        }
        let behind = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, behind))
    }

    fn chunked_body(&mut self, head: &Head) -> Result<Vec<u8>, End> {
        if self.buffer.is_empty() {
            self.invite(head)?;
        }
        let pace = Pace::start(self.limits.head_deadline);
        let mut decoder = Decoder::new(self.limits.max_body);
        loop {
            let taken = decoder.feed(&self.buffer)?;
            self.buffer.drain(..taken);
            if decoder.is_done() {
                return Ok(decoder.into_body());
            }
            let left = pace.left(decoder.received()).ok_or(too_slow())?;
            self.receive(left, too_slow())?;
        }
    }

    /// Sends `100 Continue` (RFC 9110 §10.1.1) if the client waits for it before it sends the body.
    fn invite(&mut self, head: &Head) -> Result<(), End> {
        if head.expects_continue {
            let mut stream = self.stream;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| End::Quiet)?;
        }
        Ok(())
    }

    /// Waits for more bytes. `late` is the end if none arrive in time.
    fn receive(&mut self, wait: Duration, late: impl Into<End>) -> Result<(), End> {
        if self.timeout != Some(wait) {
            // The socket refuses a zero, and counts in microseconds.
            let wait = wait.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(wait)).map_err(|_| End::Quiet)?;
            self.timeout = Some(wait);
        }
        let mut chunk = [0; READ_SIZE];
        let mut stream = self.stream;
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return Err(End::Quiet),
                Ok(length) => {
                    self.buffer.extend_from_slice(&chunk[..length]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(late.into());
                }
                Err(_) => return Err(End::Quiet),
            }
        }
    }
}

/// A body that is read as it arrives.
pub struct Streamed<'r, 'a> {
    reader: &'r mut Reader<'a>,
    left: Left,
    pace: Pace,
    received: usize,
    end: Option<End>,
}

enum Left {
    Known(usize),
    Chunked(Decoder),
}

impl Streamed<'_, '_> {
    /// Why it could not be read to its end, if so. Then close the connection.
    pub fn end(self) -> Option<End> {
        self.end
    }

    /// The bytes of it that have arrived; empty at its end.
    fn part(&mut self, most: usize) -> Result<Vec<u8>, End> {
        loop {
            match &mut self.left {
                Left::Known(0) => return Ok(Vec::new()),
                Left::Known(left) => {
                    let length = self.reader.buffer.len().min(*left).min(most);
                    if length > 0 {
                        *left -= length;
                        self.received += length;
                        return Ok(self.reader.buffer.drain(..length).collect());
                    }
                }
                Left::Chunked(decoder) => {
                    // Content is never longer than its chunks, so this bounds the content too.
                    let offered = self.reader.buffer.len().min(most);
                    let taken = decoder.feed(&self.reader.buffer[..offered])?;
                    self.reader.buffer.drain(..taken);
                    let content = decoder.take();
                    self.received += content.len();
                    if !content.is_empty() {
                        return Ok(content);
                    }
                    if taken > 0 && !decoder.is_done() {
                        continue;
                    }
                    if decoder.is_done() {
                        return Ok(content);
                    }
                }
            }
            let left = self.pace.left(self.received).ok_or(too_slow())?;
            self.reader.receive(left, too_slow())?;
        }
    }
}

impl Read for Streamed<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.end.is_some() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match self.part(out.len()) {
            Ok(part) => {
                out[..part.len()].copy_from_slice(&part);
                Ok(part.len())
            }
            Err(end) => {
                self.end = Some(end);
                Err(ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

fn too_slow() -> Refusal {
    Reason::RequestTimeout.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::test_support::{connected, limits};
    use std::{net::Shutdown, thread};

    fn on<T>(sent: &'static [u8], limits: &Limits, read: impl FnOnce(&mut Reader) -> T) -> T {
        let (mut client, server) = connected();
        let writer = thread::spawn(move || {
            client.write_all(sent).unwrap();
            client
        });
        let answer = read(&mut Reader::new(&server, [127, 0, 0, 1].into(), limits, &[]));
        drop(writer.join());
        answer
    }

    fn reason<T>(answer: Result<T, End>) -> Reason {
        match answer {
            Err(End::Refused(refusal)) => refusal.reason,
            Err(End::Quiet) => panic!("ended quietly"),
            Ok(_) => panic!("was not refused"),
        }
    }

    #[test]
    fn pipelined_requests_are_read_one_by_one() {
        let sent = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none\
            POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
            GET /c HTTP/1.1\r\nHost: x\r\n\r\nearly";
        on(sent, &limits(), |reader| {
            for (path, body) in [("/a", &b"one"[..]), ("/b", b"two"), ("/c", b"")] {
                let head = reader.head().unwrap();
                assert_eq!(head.path, path);
                assert_eq!(reader.body(&head).unwrap(), body);
            }
            assert_eq!(reader.buffer, b"early");
        });
    }

    #[test]
    fn a_head_over_the_limit_is_refused() {
        let limits = Limits { max_head: 100, ..limits() };
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100));
        let complete = on(long.leak().as_bytes(), &limits, |reader| reader.head());
        assert_eq!(reason(complete), Reason::HeadTooLarge);
        let endless = "GET /".to_owned() + &"x".repeat(200);
        let incomplete = on(endless.leak().as_bytes(), &limits, |reader| reader.head());
        assert_eq!(reason(incomplete), Reason::HeadTooLarge);
    }

    #[test]
    fn a_head_that_does_not_end_in_time_is_refused() {
        let limits = Limits { head_deadline: Duration::from_millis(30), ..limits() };
        assert_eq!(
            reason(on(b"GET / HTTP/1.1\r\nHost: x\r\n", &limits, |reader| reader.head())),
            Reason::RequestTimeout
        );
    }

    #[test]
    fn a_connection_without_a_request_ends_quietly() {
        let limits = Limits { idle_http: Duration::from_millis(30), ..limits() };
        assert!(matches!(on(b"", &limits, |reader| reader.head()), Err(End::Quiet)));
    }

    #[test]
    fn a_client_that_goes_away_ends_it_quietly() {
        let (mut client, server) = connected();
        client.write_all(b"GET / HT").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let limits = limits();
        let mut reader = Reader::new(&server, [127, 0, 0, 1].into(), &limits, &[]);
        assert!(matches!(reader.head(), Err(End::Quiet)));
    }

    #[test]
    fn a_body_over_the_limit_is_refused_before_it_is_read() {
        let limits = Limits { max_body: 5, ..limits() };
        let sent = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n";
        let answer = on(sent, &limits, |reader| {
            let head = reader.head()?;
            reader.body(&head)
        });
        assert_eq!(reason(answer), Reason::BodyTooLarge);
    }

    #[test]
    fn a_body_that_does_not_end_in_time_is_refused() {
        let limits = Limits { head_deadline: Duration::from_millis(30), ..limits() };
        for sent in [
            &b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc"[..],
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabc",
        ] {
            let answer = on(sent, &limits, |reader| {
                let head = reader.head()?;
                reader.body(&head)
            });
            assert_eq!(reason(answer), Reason::RequestTimeout);
        }
    }

    #[test]
    fn a_client_that_waits_is_told_to_continue() {
        let (mut client, server) = connected();
        client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").unwrap();
        let polite = thread::spawn(move || {
            let mut invitation = [0; 25];
            client.read_exact(&mut invitation).unwrap();
            client.write_all(b"body").unwrap();
            invitation
        });
        let limits = limits();
        let mut reader = Reader::new(&server, [127, 0, 0, 1].into(), &limits, &[]);
        let head = reader.head().unwrap();
        assert_eq!(reader.body(&head).unwrap(), b"body");
        assert_eq!(&polite.join().unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    }
}

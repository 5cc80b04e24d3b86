//! HTTP/1.1 over a plain socket: what is sent is exactly what the test wrote.

use crate::{PATIENCE, timed_out};
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

/// One connection, kept alive as long as both ends like.
pub struct Connection {
    stream: TcpStream,
    /// Read from the socket, not yet part of an answer.
    buffer: Vec<u8>,
}

impl Connection {
    #[track_caller]
    pub fn open(address: SocketAddr) -> Connection {
        Connection::try_open(address).unwrap_or_else(|error| panic!("can't connect to {address}: {error}"))
    }

    /// Connects to a server that may be away.
    pub fn try_open(address: SocketAddr) -> io::Result<Connection> {
        Connection::over(TcpStream::connect(address)?)
    }

    /// Speaks over a socket that is connected already.
    pub fn over(stream: TcpStream) -> io::Result<Connection> {
        stream.set_read_timeout(Some(PATIENCE)).expect("a read time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write time-out");
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::new() })
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Connection {
        self.stream.write_all(bytes.as_ref()).expect("the request can be sent");
        self
    }

    /// Sends a request to a server that may be away.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends as much as the peer takes: it may refuse and close before it has read everything.
    pub fn send_what_fits(&mut self, bytes: impl AsRef<[u8]>) -> &mut Connection {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// The next answer, to a request that was no HEAD.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The next answer; `Err` if the connection ends, or nothing comes, before it is whole.
    pub fn try_response(&mut self) -> io::Result<Response> {
        let mut response = self.head()?;
        response.body = self.body(&response)?;
        Ok(response)
    }

    /// The next answer to a HEAD request: it has no body, whatever its headers say (RFC 9110 §9.3.2).
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        self.head().unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Whether the server ends the connection without another byte.
    pub fn closes(&mut self) -> bool {
        self.buffer.is_empty() && matches!(self.fill(), Err(error) if !timed_out(&error))
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The socket, and what was read from it already.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }

    fn head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("an answer's head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().expect("a status line");
        assert!(status_line.starts_with("HTTP/1.1 "), "no status line: {status_line:?}");
        let status = status_line[9..12].parse().expect("a status of three digits");
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Ok(Response { status, headers, body: Vec::new() })
    }

    /// The body, delimited as RFC 9112 §6.3 says.
    fn body(&mut self, head: &Response) -> io::Result<Vec<u8>> {
        if head.status < 200 || matches!(head.status, 204 | 304) {
            return Ok(Vec::new());
        }
        if head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.chunks();
        }
        if let Some(length) = head.header("content-length") {
            return self.take(length.parse().expect("a length in digits"));
        }
        while self.fill().is_ok() {}
        Ok(std::mem::take(&mut self.buffer))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                    break at;
                }
                self.fill()?;
            };
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let line = String::from_utf8(line).expect("a chunk's size is text");
            let size = usize::from_str_radix(line.trim(), 16).expect("a chunk's size in hexadecimal");
            let chunk = self.take(size + 2)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut part = [0; 8192];
        loop {
            return match self.stream.read(&mut part) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.buffer.extend_from_slice(&part[..length]);
                    Ok(())
                }
                // A process that was stopped goes on with this, where a time-out is set (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The machine-readable word of a refusal.
    #[track_caller]
    pub fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_else(|| panic!("no reason: {}", self.text())).to_owned()
    }
}

/// A request with a body.
pub fn post(path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    post_with(path, &[("Content-Type", content_type)], body)
}

pub fn post_with(path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: chat.test\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

pub fn get(path: &str, headers: &[(&str, &str)]) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: chat.test\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request + "\r\n"
}

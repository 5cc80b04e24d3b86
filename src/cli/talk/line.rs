//! An open connection to a room: opens it, and reads and writes without blocking.

use super::session::{Denied, Session};
use crate::cli::remote;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::event::PollFlags;
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};
use tungstenite::{
    ClientRequestBuilder, Error, HandshakeError, Message, WebSocket,
    http::{Response, Uri, header},
    protocol::WebSocketConfig,
};

/// How long each step of connecting may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Most bytes of a frame of the server. A page of history is the longest: 512 KiB of text, and JSON around it.
const MAX_FRAME: usize = 4 << 20;

/// An open connection. Its socket does not block: wait for it with `poll`.
pub struct Line {
    socket: Box<WebSocket<Stream>>,
    /// Whether something that was sent has not left yet.
    unsent: bool,
}

/// A connection that has ended.
#[derive(Debug)]
pub struct Lost {
    /// The server's close code (RFC 6455 §7.4.1), if it gave one.
    pub code: Option<u16>,
    pub why: String,
}

impl Line {
    /// Opens the room with a new ticket. History begins after the message `since`, if there is one. Blocks.
    pub fn open(session: &Session, room: &str, since: Option<&str>) -> Result<Line, Denied> {
        let ticket = session.ticket()?;
        let mut path = format!("/channel/{}", utf8_percent_encode(room, NON_ALPHANUMERIC));
        if let Some(id) = since {
            path += &format!("?since={}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        }
        let address = session.remote.address.socket(&path);
        let uri: Uri = address.parse().map_err(|e| Denied::ForGood(format!("{address} is no address: {e}")))?;
        let stream = Stream::open(&uri)?;
        // In a header rather than in the address, which proxies log.
        let request = ClientRequestBuilder::new(uri)
            .with_header(header::AUTHORIZATION.as_str(), format!("Bearer {}", *ticket))
            .with_header(header::USER_AGENT.as_str(), concat!("propromo-chat/", env!("CARGO_PKG_VERSION")));
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .write_buffer_size(0)
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => {
                socket.get_ref().tcp().set_nonblocking(true).map_err(|e| Denied::for_now(e.to_string()))?;
                Ok(Line { socket: Box::new(socket), unsent: false })
            }
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(refused(&answer)),
            Err(HandshakeError::Failure(error)) => Err(Denied::for_now(format!("the room can't be opened: {error}"))),
            Err(HandshakeError::Interrupted(_)) => Err(Denied::for_now("the server takes too long to open the room")),
        }
    }

    /// Sends a frame, or as much of it as the socket takes now; [`Line::flush`] sends the rest.
    pub fn send(&mut self, frame: String) -> Result<(), Lost> {
        match self.socket.write(Message::text(frame)) {
            Ok(()) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Lost::by(&error)),
        }
        self.flush()
    }

    pub fn flush(&mut self) -> Result<(), Lost> {
        match self.socket.flush() {
            Ok(()) => self.unsent = false,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => self.unsent = true,
            Err(error) => return Err(Lost::by(&error)),
        }
        Ok(())
    }

    /// The next frame that has arrived: empty if it has no text (a ping), `None` if there is no more for now.
    pub fn hear(&mut self) -> Result<Option<String>, Lost> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(text.as_str().to_owned())),
            Ok(Message::Close(frame)) => {
                let (code, why) = match frame {
                    Some(frame) => (Some(frame.code.into()), frame.reason.as_str().to_owned()),
                    None => (None, "the server closed the connection".to_owned()),
                };
                // The answering close frame. The connection is given up in any case.
                let _ = self.socket.flush();
                Err(Lost { code, why })
            }
            Ok(_) => {
                self.flush()?;
                Ok(Some(String::new()))
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Lost::by(&error)),
        }
    }

    /// Sends a close frame, if the socket takes it.
    pub fn close(mut self) {
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }

    /// What to poll for.
    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let out = if self.unsent { PollFlags::OUT } else { PollFlags::empty() };
        (self.socket.get_ref().tcp().as_fd(), PollFlags::IN | out)
    }
}

impl Lost {
    fn by(error: &Error) -> Lost {
        Lost { code: None, why: format!("the connection is gone: {error}") }
    }
}

/// Why the handshake was refused. A chat server answers with JSON that has a sentence.
fn refused(answer: &Response<Option<Vec<u8>>>) -> Denied {
    let status = answer.status().as_u16();
    let body = answer.body().as_deref().unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let why = format!("the server does not open this room ({status}): {}", remote::reason(&body));
    let word = body["reason"].as_str().unwrap_or_default();
    if word.starts_with("token_") {
        // The next attempt has a new ticket.
        return Denied::for_now(why);
    }
    let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Denied::by_status(status, why, wait.map(Duration::from_secs))
}

/// The stream beneath the WebSocket, encrypted or not.
enum Stream {
    Plain(TcpStream),
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn open(uri: &Uri) -> Result<Stream, Denied> {
        let encrypted = uri.scheme_str() == Some("wss");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let tcp = connect(host, port).map_err(|e| Denied::for_now(format!("{host} can't be reached: {e}")))?;
        if !encrypted {
            return Ok(Stream::Plain(tcp));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Denied::ForGood(format!("{host} is no name that a certificate could be for")))?;
        let config = remote::tls().map_err(|e| Denied::ForGood(format!("TLS can't be used: {e}")))?;
        let tls = ClientConnection::new(config, name)
            .map_err(|e| Denied::ForGood(format!("{host} can't be reached by TLS: {e}")))?;
        Ok(Stream::Encrypted(Box::new(StreamOwned::new(tls, tcp))))
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Encrypted(tls) => tls.get_ref(),
        }
    }
}

/// Tries each address of the host: a name may have an IPv6 address that can't be reached.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                tcp.set_read_timeout(Some(PATIENCE))?;
                tcp.set_write_timeout(Some(PATIENCE))?;
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(buffer),
            Stream::Encrypted(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.write(buffer),
            Stream::Encrypted(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.flush(),
            Stream::Encrypted(tls) => tls.flush(),
        }
    }
}

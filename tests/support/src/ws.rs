//! A WebSocket client (RFC 6455): the handshake by hand, so that a refusal can be read; frames by tungstenite, or
//! by hand where they must be malformed.

use crate::{Connection, PATIENCE, Response, http::get};
use serde_json::Value;
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};
use tungstenite::{
    Error, Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

/// The key of RFC 6455 §1.3, whose answer is known.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A complete, correct handshake.
pub const HANDSHAKE: &[(&str, &str)] =
    &[("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)];

/// The bytes of a handshake for `path`, with further headers.
pub fn handshake(path: &str, headers: &[(&str, &str)]) -> String {
    get(path, &[HANDSHAKE, headers].concat())
}

/// An open WebSocket.
pub struct Client {
    pub(super) socket: WebSocket<TcpStream>,
    /// The `101` that opened it.
    pub opened: Response,
}

/// A message of a room, as everybody in it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub id: String,
    pub email: String,
    pub timestamp: String,
    pub text: String,
}

impl Client {
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str) -> Client {
        Client::try_open(address, path, &[])
            .unwrap_or_else(|refused| panic!("refused: {} {}", refused.status, String::from_utf8_lossy(&refused.body)))
    }

    /// Opens a WebSocket, or gives the answer that refused it.
    #[track_caller]
    pub fn try_open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Client, Response> {
        Client::upgrade(Connection::open(address), path, headers)
    }

    /// Upgrades a connection that may have served plain requests before.
    #[track_caller]
    pub fn upgrade(mut connection: Connection, path: &str, headers: &[(&str, &str)]) -> Result<Client, Response> {
        connection.send(handshake(path, headers));
        Client::opened(connection)
    }

    /// Reads the answer to a handshake that has been sent.
    #[track_caller]
    pub fn opened(mut connection: Connection) -> Result<Client, Response> {
        let answer = connection.response();
        Client::answered(connection, answer)
    }

    /// Opens a WebSocket on a server that may be away, or fall silent.
    pub fn attempt(address: SocketAddr, path: &str) -> io::Result<Result<Client, Response>> {
        let mut connection = Connection::try_open(address)?;
        connection.try_send(handshake(path, &[]))?;
        let answer = connection.try_response()?;
        Ok(Client::answered(connection, answer))
    }

    #[track_caller]
    fn answered(connection: Connection, answer: Response) -> Result<Client, Response> {
        if answer.status != 101 {
            return Err(answer);
        }
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
        assert!(answer.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
        assert!(answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
        let (stream, early) = connection.into_parts();
        let limits = WebSocketConfig::default().max_message_size(Some(1 << 20)).max_frame_size(Some(1 << 20));
        let socket = WebSocket::from_partially_read(stream, early, Role::Client, Some(limits));
        Ok(Client { socket, opened: answer })
    }

    #[track_caller]
    pub fn say(&mut self, text: impl Into<String>) {
        self.try_say(text).unwrap_or_else(|error| panic!("can't send: {error}"));
    }

    pub fn try_say(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.socket.send(Message::text(text.into()))
    }

    #[track_caller]
    pub fn send(&mut self, message: Message) {
        self.socket.send(message).unwrap_or_else(|error| panic!("can't send: {error}"));
    }

    /// Sends bytes as they are, past tungstenite.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).unwrap_or_else(|error| panic!("can't send: {error}"));
    }

    /// The next text; pings are answered on the way.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        self.try_hear().unwrap_or_else(|error| panic!("nothing to hear: {error}"))
    }

    pub fn try_hear(&mut self) -> Result<String, Error> {
        // Pings come for as long as the connection is open, so the time-out of a read never ends this.
        let until = Instant::now() + 2 * PATIENCE;
        loop {
            match self.try_read()? {
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Close(frame) => {
                    let frame = frame.map(|frame| (u16::from(frame.code), frame.reason.as_str().to_owned()));
                    return Err(Error::Io(io::Error::other(format!("closed by the server: {frame:?}"))));
                }
                Message::Ping(_) | Message::Pong(_) if Instant::now() < until => {}
                Message::Ping(_) | Message::Pong(_) => return Err(Error::Io(io::ErrorKind::TimedOut.into())),
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    /// The next text, as a message of the room.
    #[track_caller]
    pub fn hear_message(&mut self) -> Said {
        let text = self.hear();
        said(&text).unwrap_or_else(|| panic!("no message of a room: {text}"))
    }

    /// The next frame of any kind.
    #[track_caller]
    pub fn read(&mut self) -> Message {
        self.try_read().unwrap_or_else(|error| panic!("nothing to read: {error}"))
    }

    /// The next frame of any kind, or why there is none.
    pub fn try_read(&mut self) -> Result<Message, Error> {
        loop {
            match self.socket.read() {
                // A process that was stopped goes on with this, where a time-out is set (signal(7)).
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Says `text` and hears it come back, with everything that was heard before it.
    #[track_caller]
    pub fn say_and_hear(&mut self, text: &str) -> Said {
        self.say(text);
        loop {
            let said = self.hear_message();
            if said.text == text {
                return said;
            }
        }
    }

    /// Reads to the end, and gives the code with which the server closed; `None` if it just went away.
    pub fn close_code(&mut self) -> Option<u16> {
        self.hear_to_the_end().1
    }

    /// All texts up to the end, and the code with which the server closed.
    #[track_caller]
    pub fn hear_to_the_end(&mut self) -> (Vec<String>, Option<u16>) {
        let deadline = Instant::now() + PATIENCE;
        let (mut texts, mut code) = (Vec::new(), None);
        loop {
            assert!(Instant::now() < deadline, "the connection does not end");
            match self.try_read() {
                Ok(Message::Text(text)) => texts.push(text.as_str().to_owned()),
                Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(Error::Io(error)) if crate::timed_out(&error) => panic!("the connection does not end"),
                Err(_) => return (texts, code),
            }
        }
    }

    /// Ends the conversation politely and waits until the server agrees.
    #[track_caller]
    pub fn close(mut self) {
        self.socket.close(None).expect("the close frame can be sent");
        self.hear_to_the_end();
    }

    /// The socket below, for what a well-behaved client would never do.
    pub fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    pub fn wait_at_most(&self, patience: Duration) {
        self.stream().set_read_timeout(Some(patience)).expect("a read time-out");
    }
}

/// Reads a message frame of the Propromo door; `None` if it is something else.
pub fn said(text: &str) -> Option<Said> {
    let value: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
    Some(Said { id: field("id")?, email: field("email")?, timestamp: field("timestamp")?, text: field("text")? })
}

/// How a frame (RFC 6455 §5.2) begins.
#[derive(Clone, Copy)]
pub struct FrameStart {
    pub fin: bool,
    /// The three reserved bits.
    pub reserved: u8,
    pub opcode: u8,
    pub masked: bool,
}

impl FrameStart {
    pub fn whole(opcode: u8) -> FrameStart {
        FrameStart { fin: true, reserved: 0, opcode, masked: true }
    }

    pub fn part(opcode: u8) -> FrameStart {
        FrameStart { fin: false, ..FrameStart::whole(opcode) }
    }

    /// The frame's bytes. The mask is all zeros: allowed, and it leaves the payload readable.
    pub fn with(self, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode];
        let mask = u8::from(self.masked) << 7;
        match payload.len() {
            length @ 0..=125 => frame.push(mask | length as u8),
            length @ 126..=65535 => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if self.masked {
            frame.extend_from_slice(&[0; 4]);
        }
        frame.extend_from_slice(payload);
        frame
    }
}

//! One open WebSocket: its opening, and its read loop on a thread of its own.

use crate::{
    chat::Chat,
    config::Limits,
    limits::account_messages::AccountShare,
    metrics::{Connected, refusals::tell},
    recheck::{Access, CheckNumber, Pass},
    refusal::Reason,
    room::member::Member,
    socket::{
        close::{Close, GOODBYE},
        frame,
        outbound::Outbound,
        wakeups::Wakeups,
        wire::Wire,
    },
    store::accounts::UserId,
    vital,
};
use bytes::Bytes;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::{
    cell::{Cell, OnceCell},
    io::{self, Read},
    net::{IpAddr, Shutdown, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tungstenite::{
    Error, Message,
    error::ProtocolError,
    protocol::{Role, WebSocket, WebSocketConfig},
};

/// The size of tungstenite's own buffer, which every open socket holds: a few chat messages. A longer message gets
/// more, for as long as it is read.
const READ_BUFFER: usize = 1024;

/// How often the input of a dropped client is checked.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a close waits for the echoes of what was said before.
const ECHOES: Duration = Duration::from_secs(1);

/// The reason of the close for a client that does not identify itself in time.
const AUTH_DEADLINE: &str = "auth_deadline";

/// What a door says and hears on one open socket. Runs on the connection's two threads, one after the other.
pub trait Conversation: Send {
    /// The token has been spent: joins the room and replays its history.
    ///
    /// The `101` goes out before the first thing that is said, or when this returns. A client that joins before the
    /// `101` ([`Link::open`]) misses nothing that happens after it has seen the `101`.
    fn opened(&mut self, link: &Link) -> Result<(), Close>;

    /// A text message has arrived.
    fn heard(&mut self, link: &Link, text: &str) -> Result<(), Close>;

    /// The text that tells this client about a refusal.
    fn error(&self, reason: Reason, sentence: &str) -> String;

    /// When the client must have done what is required of it (send a second token), if anything.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The socket is closed, or about to be: leaves the room.
    fn closed(&mut self, link: &Link);
}

/// The open socket, as a conversation sees it.
pub struct Link {
    pub chat: Arc<Chat>,
    pub outbound: Arc<Outbound>,
    /// The client's address, for the log.
    pub client: IpAddr,
    /// The `101`, until it is sent.
    response: Cell<Option<Bytes>>,
    /// Its place in a room.
    seat: OnceCell<Arc<Member>>,
    /// What it shares with other connections of its account.
    share: OnceCell<AccountShare>,
}

impl Link {
    /// Sends the `101` unless it was sent before. Fails if the socket is closed.
    pub fn open(&self) -> io::Result<()> {
        self.response.take().map_or(Ok(()), |response| self.outbound.open(response))
    }

    /// Has this client's access rechecked until the pass is dropped. The caller asked for `check` before it looked up
    /// the access.
    pub fn recheck(&self, check: CheckNumber, access: Access) -> Pass {
        self.chat.recheck.enter(&self.outbound, self.client, check, access)
    }

    /// Notes that this client is a member of a room from now on.
    pub fn joined(&self, member: &Arc<Member>) {
        // No conversation joins twice.
        let _ = self.seat.set(member.clone());
    }

    /// Notes that this client speaks for an account from now on: what it sends counts with that of the account's other
    /// connections.
    pub fn speaks_for(&self, account: UserId) {
        if let Some(share) = self.chat.account_messages.share(account) {
            // No conversation changes its account.
            let _ = self.share.set(share);
        }
    }

    /// Sends one text message to this client alone.
    pub fn say(&self, text: &str) {
        // Fails only if the connection is gone; its read loop finds that out by itself.
        let _ = self.open();
        self.outbound.send(&frame::text_of(text));
    }
}

/// An accepted handshake: the token has been spent, the `101` is about to be written.
pub struct Opening {
    /// The whole `101` response.
    pub response: Vec<u8>,
    pub conversation: Box<dyn Conversation>,
    /// The door's name.
    pub door: &'static str,
    /// The address that the log names if something fails later.
    pub client: IpAddr,
}

/// What a connection's first thread leaves to a fresh one.
pub type Rest = Box<dyn FnOnce() + Send>;

/// Joins and writes the `101`. Returns the rest, which reads until the connection ends, or `None` if the connection is
/// gone. The rest needs a fresh thread, since the stack that this part used is never given back. `early` is what came
/// in behind the request head.
pub fn open(chat: &Arc<Chat>, stream: TcpStream, opening: Opening, early: Vec<u8>) -> Option<Rest> {
    let outbound = chat.sessions.open(stream, &chat.config.limits);
    let response = Cell::new(Some(opening.response.into()));
    let link = Link {
        chat: chat.clone(),
        outbound,
        client: opening.client,
        response,
        seat: OnceCell::new(),
        share: OnceCell::new(),
    };
    let connected = chat.metrics.connected(opening.door);
    let mut talking = Talking { link, conversation: opening.conversation, left: false, _connected: connected };
    let opened = talking.conversation.opened(&talking.link);
    talking.link.open().ok()?;
    Some(Box::new(move || talking.until_closed(opened, early)))
}

/// A conversation that learns of its end even after a panic; otherwise its room would keep a dead member.
struct Talking {
    link: Link,
    conversation: Box<dyn Conversation>,
    left: bool,
    _connected: Connected,
}

impl Talking {
    fn until_closed(mut self, opened: Result<(), Close>, early: Vec<u8>) {
        let close = match opened {
            Ok(()) => {
                let close = read_loop(&self.link, &mut *self.conversation, early);
                if let (Some(_), Some(member)) = (close, self.link.seat.get()) {
                    self.link.chat.rooms.settle(Some(&member.room), Instant::now() + ECHOES);
                }
                close
            }
            Err(close) => Some(close),
        };
        self.leave();
        close.into_iter().for_each(|close| self.link.chat.metrics.closed(close));
        goodbye(&self.link.outbound, close, self.link.chat.config.limits.send_stall);
    }

    fn leave(&mut self) {
        if !self.left {
            self.left = true;
            self.conversation.closed(&self.link);
        }
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        self.leave();
        self.link.chat.sessions.closed(&self.link.outbound);
    }
}

/// Reads until one side closes. Returns the close that this end still has to send, if any.
fn read_loop(link: &Link, conversation: &mut dyn Conversation, mut early: Vec<u8>) -> Option<Close> {
    let limits = &link.chat.config.limits;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(limits.max_message))
        .max_frame_size(Some(limits.max_message))
        .accept_unmasked_frames(false);
    let wire = Wire::new(&link.outbound, conversation.deadline(), &mut early);
    let mut socket = WebSocket::from_partially_read(wire, early, Role::Server, Some(config));
    let rate = message_rate(limits);
    let mut pinged = Instant::now();
    let mut wakeups = Wakeups::default();
    loop {
        socket.get_mut().wait_at_most(limits);
        let message = match socket.read() {
            Ok(message) => message,
            Err(Error::Io(error)) if is_timeout(&error) => {
                let wire = socket.get_ref();
                if wire.outbound.is_closing() {
                    return Some(Close::NORMAL);
                }
                if wire.is_overdue() {
                    tell!(link.chat.metrics, AUTH_DEADLINE, link.client, "connection closed");
                    return Some(Close::policy(AUTH_DEADLINE));
                }
                let silent = wire.heard.elapsed();
                if silent >= limits.pong_timeout {
                    return Some(Close::SILENT);
                }
                if silent >= limits.ping_interval && pinged.elapsed() >= limits.ping_interval {
                    pinged = Instant::now();
                    link.outbound.send(&frame::ping());
                }
                continue;
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return socket.get_ref().fault();
            }
            Err(error) => return close_for(&error),
        };
        if link.outbound.is_closing() && !message.is_close() {
            // Another thread has closed it, and its close frame is out already.
            return Some(Close::NORMAL);
        }
        if !message.is_close()
            && let Some(sentence) = too_fast(rate.as_ref(), link.share.get())
        {
            let reason = Reason::RateLimited;
            link.say(&conversation.error(reason, sentence));
            tell!(link.chat.metrics, reason.word(), link.client, "connection closed");
            return Some(Close::policy(reason.word()));
        }
        match message {
            Message::Text(text) => {
                vital::may_panic("session");
                if let Err(close) = conversation.heard(link, &text) {
                    return Some(close);
                }
                socket.get_mut().deadline = conversation.deadline();
                wakeups.patient(link.seat.get().is_some_and(|member| link.chat.rooms.is_patient(&member.room)));
            }
            Message::Binary(_) => return Some(Close::BINARY),
            // tungstenite answers pings and close frames itself, through `Wire`.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
}

/// What to tell a client whose connection or account sends too fast.
fn too_fast(rate: Option<&DefaultDirectRateLimiter>, share: Option<&AccountShare>) -> Option<&'static str> {
    if rate.is_some_and(|rate| rate.check().is_err()) {
        Some("You send faster than this server allows; connect again and slow down.")
    } else if share.is_some_and(|share| !share.may_send()) {
        Some("Your account sends faster over all its connections than this server allows; connect again and slow down.")
    } else {
        None
    }
}

/// The bound for messages a second; allows bursts of five seconds' worth.
fn message_rate(limits: &Limits) -> Option<DefaultDirectRateLimiter> {
    let a_second = limits.message_rate?;
    Some(RateLimiter::direct(Quota::per_second(a_second).allow_burst(a_second.saturating_mul(BURST))))
}

const BURST: std::num::NonZeroU32 = std::num::NonZeroU32::new(5).unwrap();

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The close for an error (RFC 6455 §7.4.1); `None` if the connection is gone.
fn close_for(error: &Error) -> Option<Close> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(Close::PROTOCOL),
        Error::Utf8(_) => Some(Close::NOT_UTF8),
        Error::Capacity(_) => Some(Close::TOO_LARGE),
        _ => None,
    }
}

/// Sends the close frame, waits a while until it and what is queued before it are out, then closes.
///
/// Unread input would turn the close into a reset (RFC 9293 §3.10.4) that may overtake the close frame, so input is
/// read for a moment.
///
/// Not inlined, because the thread would then hold the stack space of `sink` all its life.
#[inline(never)]
fn goodbye(outbound: &Arc<Outbound>, close: Option<Close>, stall: Duration) {
    // A client that was dropped because it did not read may begin to read again, and then see why.
    let until = Instant::now() + if close.is_some() { GOODBYE } else { stall };
    if let Some(close) = close {
        outbound.close(close);
    }
    let stream = outbound.stream();
    if outbound.drain_until(until).is_err() {
        return;
    }
    if outbound.is_dropped() {
        return forget_input(stream, Instant::now() + GOODBYE);
    }
    if stream.shutdown(Shutdown::Write).is_err() || close.is_none() {
        return;
    }
    let mut sink = [0; 1024];
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if stream.set_read_timeout(Some(left)).is_err() || !matches!((&*stream).read(&mut sink), Ok(1..)) {
            return;
        }
    }
}

/// Reads and ignores input of a dropped client until `until`. Only after that the socket may be shut for writing.
///
/// The socket is already shut for reading, to wake its thread. If it is also shut for writing, Linux answers any input
/// with a reset and throws away what the client has not received. So the client's answer to an earlier ping would cost
/// it the close frame.
#[inline(never)]
fn forget_input(mut stream: &TcpStream, until: Instant) {
    let mut sink = [0; 1024];
    while Instant::now() < until {
        match stream.read(&mut sink) {
            // Nothing at the moment: reading never waits on a socket that is shut for reading.
            Ok(0) => thread::sleep(LOOK_AGAIN),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

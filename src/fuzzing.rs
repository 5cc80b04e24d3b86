//! Every parser of input from strangers, as a function of bytes: none may panic, and each has properties that must
//! hold.
//!
//! `tests/doors/fuzz.rs` runs them in every `cargo test`, on the corpora in `fuzz/corpus` and on proptest's variations
//! of them. `scripts/fuzz` runs a fuzzer on them for any length of time.

use crate::{
    auth::{foreign::verify_foreign, keys::Keyring},
    door::{channel_frame, chitchat, presented, propromo},
    gateway::{Gateway, handler::Handler},
    http::{
        answer::Persistence,
        body::{Field, Fields},
        chunked::Decoder,
        head::{Head, Method},
        reply::Reply,
        request::{Request, passed_on},
    },
    refusal::Reason,
    socket::client_frames::Framing,
};
use crossbeam_channel::{Receiver, unbounded};
use parking_lot::Mutex;
use std::{
    io::{self, Cursor, Read, Write},
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
    time::{Duration, SystemTime},
};
use tungstenite::{
    Message,
    protocol::{Role, WebSocket, WebSocketConfig},
};

/// A name (also of its fuzz target and corpus), and the function.
pub type Target = (&'static str, fn(&[u8]));

/// All functions.
pub const TARGETS: &[Target] = &[
    ("request_head", request_head),
    ("chunked_body", chunked_body),
    ("gateway", gateway),
    ("body_fields", body_fields),
    ("token", token),
    ("websocket_frames", websocket_frames),
    ("propromo_frame", propromo_frame),
    ("channel_frame", channel_frame),
    ("chitchat_frame", chitchat_frame),
];

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A head is understood or refused, whatever follows it, and nothing in it can end a line of an answer.
pub fn request_head(bytes: &[u8]) {
    let Ok(Some((head, length))) = Head::parse(bytes, PEER, &[]) else { return };
    assert!(length <= bytes.len());
    let again = Head::parse(&bytes[..length], PEER, &[]).expect("understood before");
    let (mut again, same) = again.expect("complete before");
    // Each head gets an id of its own.
    again.id = head.id.clone();
    assert_eq!((format!("{head:?}"), length), (format!("{again:?}"), same), "what follows a head changed it");
    for (name, value) in &head.headers {
        assert!(!name.is_empty() && !value.contains(['\r', '\n', '\0']), "{name:?}: {value:?}");
    }
    if let Ok(segments) = head.segments() {
        assert!(segments.iter().all(|segment| !segment.contains('\0')));
    }
    if let Ok(Some(presented)) = presented::presented(&head) {
        assert!(!presented.token.is_empty());
    }
    assert!(presented::subprotocol(&head).is_none_or(|name| name.bytes().all(|byte| byte.is_ascii_graphic())));
}

/// A chunked body is the same in whatever pieces it arrives, and never longer than allowed. The first byte is the size
/// of the pieces.
pub fn chunked_body(bytes: &[u8]) {
    const MAX: usize = 1000;
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let decode = |piece: usize| {
        let mut decoder = Decoder::new(MAX);
        let mut waiting = Vec::new();
        for piece in bytes.chunks(piece) {
            waiting.extend_from_slice(piece);
            let taken = decoder.feed(&waiting).map_err(|refusal| refusal.reason)?;
            waiting.drain(..taken);
        }
        Ok::<_, Reason>((decoder.is_done(), decoder.into_body()))
    };
    let (in_pieces, at_once) = (decode(usize::from(piece).max(1)), decode(bytes.len().max(1)));
    assert_eq!(in_pieces, at_once);
    assert!(at_once.is_ok_and(|(_, body)| body.len() <= MAX) || in_pieces.is_err());
}

/// What is passed on to the real tiny_http means the same there as here, and is one request.
pub fn gateway(bytes: &[u8]) {
    let Ok(Some((head, length))) = Head::parse(bytes, PEER, &[]) else { return };
    let (Ok(segments), body) = (head.segments(), &bytes[length..]) else { return };
    let behind = BEHIND.lock();
    let (gateway, received) = &*behind;
    match gateway.exchange(&head, body, Persistence::Kept) {
        Ok(_) => {}
        Err(refusal) => {
            assert_eq!(refusal.reason, Reason::BadRequest, "tiny_http gave no answer to {head:?}");
            return assert!(received.is_empty());
        }
    }
    let request = received.try_recv().expect("the request arrived");
    assert!(received.is_empty(), "one request became two");
    assert_eq!(
        (request.method, &request.path, &request.query, &request.segments),
        (head.method, &head.path, &head.query, &segments)
    );
    assert_eq!((request.client, &*request.body), (PEER, body));
    let mut expected: Vec<_> = passed_on(&head).expect("it was passed on").into_iter().cloned().collect();
    expected.push(("content-length".to_owned(), body.len().to_string()));
    assert_eq!(request.headers, expected);
}

/// A gateway, and the requests that come out behind it.
static BEHIND: LazyLock<Mutex<(Gateway, Receiver<Request>)>> = LazyLock::new(|| {
    let (sender, received) = unbounded();
    let handler = move |request| {
        sender.send(request).expect("the receiver lives as long");
        Reply::empty(204)
    };
    Mutex::new((Gateway::start(1, Handler::new(handler)).expect("a private socket"), received))
});

/// A body has fields or is refused, and the refusal repeats nothing of it. The first byte chooses its label, which may
/// be the first line of the body.
pub fn body_fields(bytes: &[u8]) {
    const LABELS: &[&str] = &[
        "application/x-www-form-urlencoded",
        "application/json",
        "multipart/form-data; boundary=X",
        "multipart/form-data; boundary=\"-- X\"; charset=utf-8",
    ];
    let Some((&label, body)) = bytes.split_first() else { return };
    let label = usize::from(label) % (LABELS.len() + 2);
    let line = body.iter().position(|b| *b == b'\n').unwrap_or(0);
    let (label, body) = match LABELS.get(label) {
        Some(label) => (Some((*label).to_owned()), body),
        None if label == LABELS.len() => (None, body),
        None => (Some(String::from_utf8_lossy(&body[..line]).into_owned()), &body[line..]),
    };
    let headers = label.map(|label| ("content-type".to_owned(), label));
    let request = Request {
        method: Method::Post,
        path: "/login".to_owned(),
        segments: vec!["login".to_owned()],
        query: None,
        headers: headers.into_iter().collect(),
        body: body.to_vec(),
        client: PEER,
        secure: false,
    };
    match Fields::read(&request) {
        Ok(fields) => {
            if let Field::Text(text) = fields.any(&["email", "user", "a"]) {
                assert!(!text.is_empty());
            }
        }
        Err(refusal) => {
            assert!(matches!(refusal.reason, Reason::InvalidFields | Reason::UnsupportedMediaType), "{refusal}");
        }
    }
}

/// No text counts as a token of a key that did not sign it.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    let verified = KEYRING.verify(text, |_| true, now);
    assert!(verified.is_err(), "signed by nobody, and verified");
    assert!(verify_foreign(KEY.as_bytes(), text, now, Duration::ZERO).is_err(), "signed by nobody, and verified");
}

/// Known only here and made on demand: nobody signs with it.
static KEY: LazyLock<String> =
    LazyLock::new(|| format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()));

static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::from_settings(&KEY, None, &mut || unreachable!("not encrypted")).expect("a long secret"));

/// A client's frames are the same messages in whatever pieces they arrive. The first byte is the size of the pieces.
pub fn websocket_frames(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    assert_eq!(heard(bytes, usize::from(piece).max(1)), heard(bytes, bytes.len().max(1)));
}

/// The messages, as texts, when the bytes come in pieces of this size.
fn heard(bytes: &[u8], piece: usize) -> Vec<String> {
    const MAX: usize = 1000;
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(MAX))
        .max_frame_size(Some(MAX))
        .accept_unmasked_frames(false);
    let pieces = Pieces { bytes: Cursor::new(bytes), piece, framing: Framing::default() };
    let mut socket = WebSocket::from_raw_socket(pieces, Role::Server, Some(config));
    let mut heard = Vec::new();
    while let Ok(message) = socket.read() {
        assert!(message.len() <= MAX);
        // tungstenite decides whether it reports a text that is not UTF-8 early or late.
        if let Message::Text(text) = message {
            heard.push(text.to_string());
        }
    }
    heard
}

/// A socket whose bytes arrive in pieces, and which ignores what is written.
struct Pieces<'a> {
    bytes: Cursor<&'a [u8]>,
    piece: usize,
    framing: Framing,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.piece.min(buffer.len());
        let length = self.bytes.read(&mut buffer[..most])?;
        match self.framing.check(&buffer[..length]) {
            0 if length > 0 => Err(io::ErrorKind::InvalidData.into()),
            sound => Ok(sound),
        }
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// White space does not change what is a ping at the Propromo door.
pub fn propromo_frame(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(propromo::application_ping(text), propromo::application_ping(&dense));
}

/// A frame of the channel protocol is understood or refused. A text that does not begin as an object is a message as it
/// stands.
pub fn channel_frame(bytes: &[u8]) {
    use channel_frame::Asked;
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let object = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').starts_with('{');
    match channel_frame::Asked::parse(text) {
        Ok(Asked::Message { text: said, reference, reply_to }) if !object => {
            assert!(&*said == text && reference.is_none() && reply_to.is_none());
        }
        Ok(Asked::History { limit, .. }) => assert!(object && limit >= 1),
        Ok(_) => assert!(object),
        Err(error) => assert!(object && !error.sentence.is_empty()),
    }
    // A client with two tokens may use only one of the forms.
    if let Some(token) = channel_frame::first_message_token(text, false) {
        assert_eq!(channel_frame::first_message_token(text, true), Some(token));
    }
}

/// An event of the rooms door is understood or refused. If it is accepted, its name can be shown.
pub fn chitchat_frame(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(asked) = chitchat::frame::Asked::parse(3, text) {
        assert!(chitchat::frame::is_name(&asked.name));
        assert!(asked.color.is_none_or(|color| !color.is_empty() && !color.contains(char::is_control)));
        assert_eq!(asked.text.is_empty(), asked.kind != chitchat::frame::Kind::Send);
    }
}

//! An endpoint of webhooks that a test has answer as it likes.

use crate::{PATIENCE, eventually, free_address};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// What every receiver here knows.
pub const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The answers that are usual.
pub const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";
pub const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
pub const GONE: &str = "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n";

/// One request, signed as it should be.
#[derive(Clone, Debug)]
pub struct Received {
    /// The request line.
    pub line: String,
    /// By names in lower case.
    pub headers: HashMap<String, String>,
    pub event: Value,
}

impl Received {
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().expect("an event has a type")
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn text(&self) -> &str {
        self.event["data"]["text"].as_str().unwrap_or_default()
    }
}

type Answer = dyn Fn(&Received) -> String + Send + Sync;

/// An endpoint of webhooks; gone when it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    answer: Box<Answer>,
    ended: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Receiver {
    /// Takes everything.
    pub fn start() -> Receiver {
        Receiver::answering(|_| TAKEN.into())
    }

    pub fn answering(answer: impl Fn(&Received) -> String + Send + Sync + 'static) -> Receiver {
        Receiver::at(free_address(), answer)
    }

    /// At this address, where one may just have ended.
    #[track_caller]
    pub fn at(address: SocketAddr, answer: impl Fn(&Received) -> String + Send + Sync + 'static) -> Receiver {
        let mut listener = None;
        eventually("the address is free", || {
            listener = TcpListener::bind(address).ok();
            listener.is_some()
        });
        let listener = listener.expect("it is bound");
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            answer: Box::new(answer),
            ended: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                serving.connections.lock().expect("no panics").push(stream.try_clone().expect("a socket"));
                let serving = serving.clone();
                thread::spawn(move || serving.serve(&stream));
            }
        });
        Receiver { address, shared }
    }

    /// What came in so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().expect("no panics").clone()
    }

    /// Waits until so many requests came in.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        eventually("events arrive", || self.received().len() >= count);
        self.received()
    }

    /// Waits for a message's event with this text.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str) -> Received {
        let find = || self.received().into_iter().find(|received| received.text() == text);
        eventually("the event arrives", || find().is_some());
        find().expect("it is there")
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks/s3cr3t-path", self.address)
    }
}

impl Drop for Receiver {
    /// Ends as a killed process does: whatever is on its way is not answered.
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for connection in self.shared.connections.lock().expect("no panics").drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        // Ends the thread that accepts, and with it the listener.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).expect("a read time-out");
        let mut reader = BufReader::new(stream);
        while let Some(received) = read(&mut reader) {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let answer = (self.answer)(&received);
            self.received.lock().expect("no panics").push(received);
            if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut headers = HashMap::new();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok()?;
        let Some((name, value)) = field.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let (id, at) = (&headers["webhook-id"], &headers["webhook-timestamp"]);
    assert_eq!(headers["webhook-signature"], signature(id, at, &body), "signed as the specification says");
    Some(Received { line: line.trim_end().to_owned(), event: serde_json::from_slice(&body).ok()?, headers })
}

/// What the header `webhook-signature` is by the specification.
fn signature(id: &str, timestamp: &str, body: &[u8]) -> String {
    let secret = STANDARD.decode(WEBHOOK_SECRET.trim_start_matches("whsec_")).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("any key");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

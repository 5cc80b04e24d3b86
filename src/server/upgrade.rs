//! Chooses the requests that open a WebSocket, and their doors.

use crate::{
    api::cors,
    chat::Chat,
    door::{
        DOORS,
        admission::Door,
        conversation::{self, Rest},
        handshake,
    },
    http::{head::Head, reply::Reply},
    logging::Access,
    refusal::{Reason, Refusal},
};
use std::{net::TcpStream, sync::Arc, time::Instant};

/// What opens WebSockets on the connections of a listener.
pub trait Upgrades: Send + Sync {
    /// Whether this path (as decoded segments) is a WebSocket.
    fn owns(&self, segments: &[String]) -> bool;

    /// Checks a handshake at a path that it owns. If this returns a session, the token is spent.
    fn open(&self, head: &Head, segments: &[String]) -> Result<Session, Reply>;

    /// The answer to a handshake at this path that is refused or invalid.
    fn refuse(&self, segments: &[String], refusal: &Refusal) -> Reply;

    /// Adds the headers that let the page read the answer, if it may.
    fn permit(&self, head: &Head, reply: &mut Reply);
}

/// Opens a WebSocket. Takes the connection, and what came in behind the request head. Returns the rest, which runs it
/// until it ends.
pub type Session = Box<dyn FnOnce(TcpStream, Vec<u8>) -> Option<Rest> + Send>;

/// The [`DOORS`] that are open.
pub struct Doors {
    chat: Arc<Chat>,
}

impl Doors {
    pub fn new(chat: Arc<Chat>) -> Doors {
        Doors { chat }
    }

    fn door(&self, segments: &[String]) -> Option<&'static dyn Door> {
        let open = self.chat.config.doors;
        DOORS.iter().find(|door| open.has(door.switch()) && door.owns(segments)).copied()
    }
}

impl Upgrades for Doors {
    fn owns(&self, segments: &[String]) -> bool {
        self.door(segments).is_some()
    }

    fn open(&self, head: &Head, segments: &[String]) -> Result<Session, Reply> {
        let door = self.door(segments).ok_or_else(|| NoDoors.refuse(segments, &Reason::NotFound.into()))?;
        let begun = Instant::now();
        let opening = handshake::prepare(&self.chat, door, head, segments);
        let answered = |status, bytes| {
            let (method, client, time) = (head.method.as_str(), head.client, begun.elapsed());
            Access { method, endpoint: door.name(), status, bytes, time, client }.log(self.chat.config.access_log);
        };
        match opening {
            Ok(opening) => {
                self.chat.metrics.handshake(door.name(), "ok");
                answered(101, 0);
                let (chat, request) = (self.chat.clone(), head.id.clone());
                Ok(Box::new(move |stream, early| {
                    let rest = {
                        let _request = request.enter();
                        conversation::open(&chat, stream, opening, early)?
                    };
                    Some(Box::new(move || {
                        let _request = request.enter();
                        rest();
                    }))
                }))
            }
            Err(refusal) => {
                self.chat.metrics.handshake(door.name(), refusal.reason.word());
                let answer = |refusal| self.refuse(segments, &refusal);
                let reply = self.chat.metrics.refuse(refusal, head.client, door.name(), answer);
                answered(reply.status, reply.body.len());
                Err(reply)
            }
        }
    }

    fn refuse(&self, segments: &[String], refusal: &Refusal) -> Reply {
        match self.door(segments) {
            Some(door) => Reply::refused_with(door.status(refusal.reason), refusal, door.refused(refusal)),
            None => Reply::from(refusal.clone()),
        }
    }

    fn permit(&self, head: &Head, reply: &mut Reply) {
        cors::permit(&self.chat.config.origins, head.method, |name| head.header(name), reply);
    }
}

/// For listeners without WebSockets.
pub struct NoDoors;

impl Upgrades for NoDoors {
    fn owns(&self, _: &[String]) -> bool {
        false
    }

    fn open(&self, _: &Head, segments: &[String]) -> Result<Session, Reply> {
        Err(self.refuse(segments, &Reason::NotFound.into()))
    }

    fn refuse(&self, _: &[String], refusal: &Refusal) -> Reply {
        Reply::from(refusal.clone())
    }

    fn permit(&self, _: &Head, _: &mut Reply) {}
}

//! One client in one room of the rooms door: the name it has, and what it says.

use super::{
    error::{self, about},
    frame::{self, Asked, ChitchatEncoder, Kind},
};
use crate::{
    auth::token::room_mark,
    door::{
        conversation::{Conversation, Link},
        join::{self, Replay},
    },
    event::Person,
    limits::turns::Claimant,
    message::{Draft, MessageId, RoomName},
    recheck::{Access, Pass},
    refusal::{Reason, Refusal},
    room::{
        member::Member,
        names::{Holding, RoomNames},
    },
    socket::close::Close,
    store::{
        chat_rooms::{ChatRoom, RoomKey},
        error::StoreError,
        usage::Fill,
    },
};
use std::sync::Arc;

/// The engine's name for a client that only listens: names are this door's own matter.
const LISTENER: &str = "";

/// The close for a client that is turned away after the handshake.
const CHANGED: Close = Close::policy("room_changed");

pub struct ChitchatConversation {
    id: i64,
    /// The mark of the room's password when the client was let in.
    mark: Option<String>,
    /// In a closed room: the name in the token, the only one that the client may use.
    token_name: Option<Arc<str>>,
    /// The room's last event when the client was let in.
    seen: Option<MessageId>,
    names: Arc<RoomNames>,
    member: Option<Arc<Member>>,
    pass: Option<Pass>,
    name: Option<Named>,
}

/// A name that this client holds.
struct Named {
    holding: Holding,
    /// Whether the client sent a `join` for it: a first `send` takes a name without one.
    announced: bool,
}

/// Why a request is not carried out.
enum No {
    /// The client is told, and stays.
    Refused(Refusal),
    Closed(Close),
}

impl ChitchatConversation {
    /// A client that was let into `room`. `seen` is the room's last event.
    pub fn new(
        room: &ChatRoom,
        names: Arc<RoomNames>,
        token_name: Option<&str>,
        seen: Option<MessageId>,
    ) -> ChitchatConversation {
        let (mark, token_name) = (room_mark(room), token_name.map(Into::into));
        ChitchatConversation { id: room.id, mark, token_name, seen, names, member: None, pass: None, name: None }
    }
}

impl Conversation for ChitchatConversation {
    fn opened(&mut self, link: &Link) -> Result<(), Close> {
        let room = RoomName::chitchat(self.id);
        let check = link.chat.recheck.current();
        let person = Person::unnamed(self.token_name.clone().unwrap_or_else(|| LISTENER.into()));
        // A client that has seen the `101` hears everything from then on, also what came before the client had its
        // place.
        let replay = (Claimant::of(link.client), Replay::Behind(self.seen));
        self.member = Some(join::enter(link, &room, person, &ChitchatEncoder, replay)?);
        // If the room was deleted or closed before now, its members were told, and this client may have come too late
        // for that.
        match link.chat.chat_rooms.find(RoomKey::Id(self.id)) {
            Ok(Some(room)) if room_mark(&room) == self.mark => {
                let access = Access::ChatRoom { id: self.id, mark: self.mark.clone() };
                self.pass = Some(link.recheck(check, access));
                Ok(())
            }
            Ok(_) => Err(CHANGED),
            Err(error) => Err(join::unavailable(error)),
        }
    }

    fn heard(&mut self, link: &Link, text: &str) -> Result<(), Close> {
        match self.handle(link, text) {
            Ok(()) => Ok(()),
            Err(No::Refused(refusal)) => {
                link.say(&error::frame(&refusal));
                Ok(())
            }
            Err(No::Closed(close)) => Err(close),
        }
    }

    fn error(&self, reason: Reason, sentence: &str) -> String {
        error::frame(&Refusal::new(reason, sentence.to_owned()))
    }

    fn closed(&mut self, link: &Link) {
        self.pass = None;
        if let Some(named) = self.name.take() {
            // Fails only if the room was shut: then nobody is left to hear it.
            let _ = self.give_up(link, named);
        }
        if let Some(member) = self.member.take() {
            link.chat.rooms.leave(&member);
        }
    }
}

impl ChitchatConversation {
    fn handle(&mut self, link: &Link, text: &str) -> Result<(), No> {
        let asked = Asked::parse(self.id, text)?;
        if self.token_name.as_deref().is_some_and(|name| *name != *asked.name) {
            return Err(about(Reason::NotYours, "name").into());
        }
        if asked.kind != Kind::Leave {
            let room = if link.chat.log.usage().fill == Fill::Plenty { Ok(()) } else { Err(Reason::StoreFull.into()) };
            room.and_then(|()| link.chat.posting_limit.check(link.client, asked.text.len())).inspect_err(
                |refusal| {
                    link.chat.metrics.refused(refusal.reason);
                },
            )?;
        }
        match asked.kind {
            Kind::Join => self.join(link, &asked),
            Kind::Send => self.send(link, asked),
            Kind::Leave => self.leave(link, &asked),
        }
    }

    /// Enters under a name, and gives up the previous one.
    fn join(&mut self, link: &Link, asked: &Asked) -> Result<(), No> {
        self.forget_lost_name()?;
        match &mut self.name {
            Some(named) if named.holding.is(&asked.name) => {
                if std::mem::replace(&mut named.announced, true) {
                    return Err(taken().into());
                }
            }
            _ => {
                let color = asked.color.as_deref().unwrap_or_default();
                let holding = self.names.take(&asked.name, color)?.ok_or_else(taken)?;
                if let Some(earlier) = self.name.replace(Named { holding, announced: true }) {
                    self.give_up(link, earlier)?;
                }
            }
        }
        let Some(Named { holding, .. }) = &self.name else { return Ok(()) };
        holding.active(asked.color.as_deref());
        self.post(link, holding, Kind::Join, format!("{} entered the room.", holding.name()))
    }

    fn send(&mut self, link: &Link, asked: Asked) -> Result<(), No> {
        self.forget_lost_name()?;
        if self.name.is_none() {
            let color = asked.color.as_deref().unwrap_or_default();
            let holding = self.names.take(&asked.name, color)?.ok_or_else(taken)?;
            self.name = Some(Named { holding, announced: false });
        }
        match &self.name {
            Some(Named { holding, .. }) if holding.is(&asked.name) => {
                holding.active(asked.color.as_deref());
                self.post(link, holding, Kind::Send, asked.text)
            }
            _ if self.names.is_held(&asked.name) => Err(taken().into()),
            _ => Err(about(Reason::NameNotHeld, "name").into()),
        }
    }

    fn leave(&mut self, link: &Link, asked: &Asked) -> Result<(), No> {
        match self.name.take() {
            Some(named) if named.holding.is(&asked.name) => self.give_up(link, named),
            other => {
                self.name = other;
                Err(about(Reason::NameNotHeld, "name").into())
            }
        }
    }

    /// Forgets a name that a member of another node has taken. No `leave` is sent, because that member is there.
    fn forget_lost_name(&mut self) -> Result<(), No> {
        if let Some(named) = &self.name
            && !named.holding.holds()?
        {
            self.name = None;
        }
        Ok(())
    }

    /// Announces that a name has left, then gives it back: its next holder comes later in the log.
    fn give_up(&self, link: &Link, named: Named) -> Result<(), No> {
        named.holding.part(|holding| {
            let text = format!("{} has left the room.", holding.name());
            self.post(link, holding, Kind::Leave, text)
        })
    }

    fn post(&self, link: &Link, holding: &Holding, kind: Kind, text: String) -> Result<(), No> {
        let Some(member) = &self.member else { return Ok(()) };
        let draft = Draft {
            extra: Some(frame::note(kind, &holding.color())),
            ..Draft::new(member.room.name.clone(), holding.name().clone(), text)
        };
        self.names.while_open(|| link.chat.rooms.post(member, draft)).map_err(No::Closed)
    }
}

fn taken() -> Refusal {
    about(Reason::NameTaken, "name")
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> No {
        No::Refused(error.into())
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> No {
        No::Refused(refusal)
    }
}

//! All messages of a sender, in all rooms in which accounts speak.

use super::{error::StoreError, log::MessageLog};
use crate::{
    likeness::same_email,
    message::{Message, MessageId, RoomName},
};
use std::{fmt, time::Instant};

/// How many rooms, and how many messages of a room, are read at a time.
const ROOMS: usize = 100;
const MESSAGES: usize = 500;

/// Walks through the messages of an account, room by room, newest first.
pub struct Walk<'a> {
    pub log: &'a dyn MessageLog,
    /// The email address, as rooms show it.
    pub sender: &'a str,
    pub place: Place,
    /// When the walk stops, wherever it is.
    pub until: Option<Instant>,
}

/// How far a walk has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    #[default]
    Start,
    /// In this room, everything before this message is left.
    Before(RoomName, MessageId),
    /// This room and all before it are done.
    Behind(RoomName),
}

impl Walk<'_> {
    /// Gives each message to `take`, until `take` returns `false` or the time is over. Returns whether those were all.
    pub fn on<E: From<StoreError>>(
        &mut self,
        mut take: impl FnMut(&RoomName, &Message) -> Result<bool, E>,
    ) -> Result<bool, E> {
        if let Place::Before(room, id) = &self.place
            && !self.through(&room.clone(), Some(*id), &mut take)?
        {
            return Ok(false);
        }
        loop {
            let after = match &self.place {
                Place::Start => None,
                Place::Before(room, _) | Place::Behind(room) => Some(room.clone()),
            };
            let rooms = self.log.rooms_of(self.sender, after.as_ref(), ROOMS)?;
            if rooms.is_empty() {
                return Ok(true);
            }
            for room in rooms {
                // In other rooms anybody may use another person's address as a name.
                if (room.is_of_accounts() || room.is_removed()) && !self.through(&room, None, &mut take)? {
                    return Ok(false);
                }
                self.place = Place::Behind(room);
            }
        }
    }

    /// The same in one room.
    fn through<E: From<StoreError>>(
        &mut self,
        room: &RoomName,
        mut before: Option<MessageId>,
        take: &mut impl FnMut(&RoomName, &Message) -> Result<bool, E>,
    ) -> Result<bool, E> {
        loop {
            let page = self.log.history(room, before, MESSAGES)?;
            let Some(oldest) = page.first() else { return Ok(true) };
            before = Some(oldest.id);
            for message in page.iter().rev().filter(|message| same_email(&message.sender, self.sender)) {
                let go_on = take(room, message)?;
                self.place = Place::Before(room.clone(), message.id);
                if !go_on {
                    return Ok(false);
                }
            }
            if self.until.is_some_and(|until| Instant::now() >= until) {
                self.place = Place::Before(room.clone(), oldest.id);
                return Ok(false);
            }
        }
    }
}

impl Place {
    pub fn parse(text: &str) -> Option<Place> {
        if text.is_empty() {
            return Some(Place::Start);
        }
        // The longest prefix is that of a removed room.
        let (id, room) = text.split_once('|').filter(|(_, room)| room.len() <= RoomName::MAX + 32)?;
        let room = RoomName::from_store(room);
        if id.is_empty() { Some(Place::Behind(room)) } else { Some(Place::Before(room, MessageId::parse(id)?)) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Start => Ok(()),
            Place::Before(room, id) => write!(f, "{id}|{}", room.as_str()),
            Place::Behind(room) => write!(f, "|{}", room.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_place_is_read_back() {
        let room = RoomName::channel("a|b");
        for place in [Place::Start, Place::Behind(room.clone()), Place::Before(room, MessageId(Uuid::now_v7()))] {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        assert_eq!(Place::parse("yesterday|channel:x"), None);
        assert_eq!(Place::parse("channel:x"), None);
    }
}

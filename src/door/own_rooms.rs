//! The rooms of an account: its chats, and the channels in which it has read something.

use crate::{
    chat::Chat,
    message::{MessageId, RoomName},
    store::{
        accounts::{Monitor, UserId},
        error::StoreError,
    },
};
use std::collections::HashMap;

/// At most `INBOX_ROOMS` rooms, chats first.
pub struct OwnRooms {
    /// Oldest first.
    pub monitors: Vec<Monitor>,
    /// Sorted by name.
    pub channels: Vec<RoomName>,
    /// How far the account has read, in all rooms.
    pub marks: HashMap<RoomName, MessageId>,
}

impl OwnRooms {
    /// The rooms that this account may enter now.
    pub fn of(chat: &Chat, account: UserId) -> Result<OwnRooms, StoreError> {
        let marks: HashMap<RoomName, MessageId> = chat.read_marks.store().of_account(account)?.into_iter().collect();
        let mut monitors = chat.accounts.monitors_of(account)?;
        let most = chat.config.limits.inbox_rooms;
        let left_out = &chat.rooms.metrics().inbox_rooms_left_out;
        left_out.inc_by(monitors.len().saturating_sub(most) as u64);
        monitors.truncate(most);
        let mut read: Vec<&RoomName> = marks.keys().filter(|room| !room.is_monitor()).collect();
        read.sort_unstable();
        left_out.inc_by(read.len().saturating_sub(most - monitors.len()) as u64);
        read.truncate(most - monitors.len());
        let asked: Vec<(UserId, &str)> = read.iter().map(|room| (account, room.local())).collect();
        let memberships = chat.accounts.memberships(&asked)?;
        let open =
            read.into_iter().zip(memberships).filter(|(room, now)| now.room(room.local()).as_ref() == Some(room));
        let channels = open.map(|(room, _)| room.clone()).collect();
        Ok(OwnRooms { monitors, channels, marks })
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.monitors.len() + self.channels.len()
    }

    /// All of these rooms, with how far the account has read.
    pub fn with_marks(&self) -> Vec<(RoomName, Option<MessageId>)> {
        let monitors = self.monitors.iter().map(|monitor| RoomName::monitor(&monitor.monitor_hash));
        let rooms = monitors.chain(self.channels.iter().cloned());
        rooms.map(|room| (room.clone(), self.marks.get(&room).copied())).collect()
    }
}

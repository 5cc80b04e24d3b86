//! Says which of the messages that this node has confirmed are lost, after Redis has lost data.

use super::copier::Copier;
use crate::{message::RoomName, store::error::StoreError};
use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};

/// Rooms that one log line names.
const NAMED: usize = 10;

/// Messages that neither Redis nor the archive has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub messages: u64,
    /// How many of each room, most first.
    pub rooms: Vec<(RoomName, u64)>,
    /// There may be more.
    pub is_cut: bool,
}

impl Copier {
    /// Counts what this node has confirmed and is lost. It is counted once.
    pub fn count_lost(&self) -> Result<Losses, StoreError> {
        let confirmed = self.redis.confirmed.messages();
        // Redis first: what it still has may be archived, and let go of, meanwhile.
        let lost = self.archive.missing(self.redis.missing(&confirmed.all)?)?;
        let mut rooms: HashMap<RoomName, u64> = HashMap::new();
        for (room, _) in &lost {
            *rooms.entry(room.clone()).or_default() += 1;
        }
        let mut rooms: Vec<(RoomName, u64)> = rooms.into_iter().collect();
        rooms.sort_by(|(room, count), (other, more)| more.cmp(count).then_with(|| room.cmp(other)));
        self.redis.confirmed.forget(&lost.iter().cloned().collect::<HashSet<_>>());
        let messages = lost.len() as u64;
        self.figures.messages_lost.fetch_add(messages, Ordering::Relaxed);
        Ok(Losses { messages, rooms, is_cut: confirmed.is_cut })
    }

    /// Forgets what was confirmed and is archived.
    pub fn forget_archived(&self) -> Result<(), StoreError> {
        const SOME: usize = 2000;
        let mut archived = HashMap::new();
        for rooms in self.redis.confirmed.rooms().chunks(SOME) {
            let positions = self.archive.positions(rooms)?;
            archived.extend(rooms.iter().cloned().zip(positions.into_iter().map(|position| position.upto)));
        }
        self.redis.confirmed.forget_archived(archived);
        Ok(())
    }
}

impl Losses {
    pub fn log(&self) {
        let Losses { messages, rooms, is_cut } = self;
        if *messages == 0 && !is_cut {
            tracing::info!("Redis has lost data, but no message that this node had confirmed");
            return;
        }
        let (of_rooms, at_least) = (rooms.len(), is_cut);
        let named = rooms.iter().take(NAMED).map(|(room, count)| format!("{}: {count}", room.as_str()));
        let rooms = named.collect::<Vec<_>>().join(", ");
        tracing::warn!(
            messages,
            of_rooms,
            rooms,
            at_least,
            "messages that this node had confirmed are lost: Redis does not have them any more, and they were not archived yet"
        );
    }
}

//! Where a lane's members sit, by room, and which room is served when.
//!
//! A large room is served a slice at a time, in turn with the others: no room waits until another is through.

use super::{
    command::{Batch, Command},
    crowd::{Crowd, Happening},
    member::Member,
    run::Run,
};
use crate::{message::RoomName, metrics::messages::Figures};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// The most members that are served before it is another room's turn, and before what came in meanwhile is taken.
const SLICE: usize = 128;

/// Messages and events that may be on their way at a time. More wait in the channel; when that is full, their senders do.
const ON_THE_WAY: usize = 16 << 10;

pub(super) struct Hall {
    /// The lane's number.
    index: usize,
    rooms: HashMap<RoomName, Crowd>,
    /// Rooms with something on its way, in turn. Some may have become empty meanwhile.
    turns: VecDeque<RoomName>,
    /// Messages and events that some member of their room has not been sent.
    on_the_way: usize,
    figures: Figures,
}

impl Hall {
    pub fn new(index: usize, figures: Figures) -> Hall {
        Hall { index, rooms: HashMap::new(), turns: VecDeque::new(), on_the_way: 0, figures }
    }

    /// Whether enough messages are on their way.
    pub fn is_full(&self) -> bool {
        self.on_the_way >= ON_THE_WAY
    }

    /// How many members a batch is for.
    pub fn audience(&self, batch: &Batch) -> usize {
        let members = |run: &Run| self.rooms.get(&run.room.name).map_or(0, Crowd::len);
        batch.runs.iter().map(members).sum::<usize>() + batch.whispers.len()
    }

    /// Does what the lane is told. Messages and events are only put on their way: [`serve`](Self::serve) sends them.
    pub fn obey(&mut self, command: Command) {
        match command {
            Command::Deliver(batch) => self.dispatch(&batch),
            Command::Announce(happening) => self.announce(&happening),
            Command::Join(member) => self.rooms.entry(member.room.name.clone()).or_default().join(member),
            Command::Release(member, last) => {
                self.in_room(&member.room.name, |crowd, figures| crowd.release(member.id(), last, figures));
            }
            Command::Leave(member) => self.leave(&member),
            Command::Close { room, farewell, close } => {
                self.in_room(&room.name, |crowd, figures| crowd.close(&farewell, close, figures));
            }
            Command::Settle(told) => {
                while self.serve() {}
                // Fails if nobody waits any more.
                let _ = told.try_send(());
            }
        }
    }

    /// Serves some members of the room whose turn it is. Answers `false` when everybody has been sent everything.
    pub fn serve(&mut self) -> bool {
        let Some(name) = self.turns.pop_front() else { return false };
        self.in_room(&name, |crowd, figures| crowd.serve(SLICE, figures));
        match self.rooms.get_mut(&name) {
            Some(crowd) if crowd.is_behind() => self.turns.push_back(name),
            Some(crowd) => crowd.has_turn = false,
            None => {}
        }
        !self.turns.is_empty()
    }

    /// Lets a room do something that tells how many messages have been sent to all of its members by it.
    fn in_room(&mut self, name: &RoomName, what: impl FnOnce(&mut Crowd, &Figures) -> usize) {
        if let Some(crowd) = self.rooms.get_mut(name) {
            self.on_the_way -= what(crowd, &self.figures);
        }
    }

    fn announce(&mut self, happening: &Arc<Happening>) {
        let name = &happening.room.name;
        let Some(crowd) = self.rooms.get_mut(name) else { return };
        crowd.announce(happening);
        self.on_the_way += 1;
        if !std::mem::replace(&mut crowd.has_turn, true) {
            self.turns.push_back(name.clone());
        }
    }

    fn dispatch(&mut self, batch: &Batch) {
        for (at, run) in batch.runs.iter().enumerate() {
            if run.room.lanes() & (1 << self.index) == 0 {
                continue;
            }
            let Some(crowd) = self.rooms.get_mut(&run.room.name) else { continue };
            crowd.put(&batch.runs, at);
            self.on_the_way += run.entries.len();
            if !std::mem::replace(&mut crowd.has_turn, true) {
                self.turns.push_back(run.room.name.clone());
            }
        }
        let lane = self.index;
        for whisper in batch.whispers.iter().filter(|whisper| whisper.to.lane == lane) {
            let (room, id) = (&whisper.to.room.name, whisper.to.id());
            self.in_room(room, |crowd, figures| crowd.whisper(id, &whisper.frames, figures));
        }
    }

    fn leave(&mut self, member: &Arc<Member>) {
        let name = &member.room.name;
        self.in_room(name, |crowd, figures| crowd.leave(member.id(), figures));
        if self.rooms.get(name).is_some_and(|crowd| crowd.len() == 0) {
            self.rooms.remove(name);
        }
    }
}

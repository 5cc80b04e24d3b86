//! A lane's members by room, and the order in which rooms are served.
//!
//! Large rooms are served a slice at a time, in turn with the others, so no room waits until another one is finished.

use super::{
    audience::{Announcement, Audience},
    command::{Batch, Command},
    member::Member,
    run::Run,
};
use crate::{message::RoomName, metrics::messages::MessageMetrics};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// How many members are served before the next room has its turn, and before new commands are taken.
const SLICE: usize = 128;

/// How many messages and events may be on their way at a time. More wait in the channel; when that is full, their
/// senders wait.
const ON_THE_WAY: usize = 16 << 10;

pub(super) struct Audiences {
    /// The lane's number.
    index: usize,
    rooms: HashMap<RoomName, Audience>,
    /// Rooms with something on its way, in turn. Some may be empty by now.
    turns: VecDeque<RoomName>,
    /// How many messages and events some member of their room has not been sent.
    on_the_way: usize,
    metrics: MessageMetrics,
}

impl Audiences {
    pub fn new(index: usize, metrics: MessageMetrics) -> Audiences {
        Audiences { index, rooms: HashMap::new(), turns: VecDeque::new(), on_the_way: 0, metrics }
    }

    /// Whether enough messages are on their way.
    pub fn is_full(&self) -> bool {
        self.on_the_way >= ON_THE_WAY
    }

    /// How many members a batch is for.
    pub fn members_of(&self, batch: &Batch) -> usize {
        let members = |run: &Run| self.rooms.get(&run.room.name).map_or(0, Audience::len);
        batch.runs.iter().map(members).sum::<usize>() + batch.replies.len()
    }

    /// Carries out a command. Messages and events are only queued: [`serve`](Self::serve) sends them.
    pub fn handle(&mut self, command: Command) {
        match command {
            Command::Deliver(batch) => self.dispatch(&batch),
            Command::Announce(announcement) => self.announce(&announcement),
            Command::Join(member) => self.rooms.entry(member.room.name.clone()).or_default().join(member),
            Command::Release(member, last) => {
                self.in_room(&member.room.name, |audience, metrics| audience.release(member.id(), last, metrics));
            }
            Command::Leave(member) => self.leave(&member),
            Command::Close { room, farewell, close } => {
                self.in_room(&room.name, |audience, metrics| audience.close(&farewell, close, metrics));
            }
            Command::Settle(told) => {
                while self.serve() {}
                // Fails if nobody waits any more.
                let _ = told.try_send(());
            }
        }
    }

    /// Serves some members of the room whose turn it is. Returns `false` when every member has been sent everything.
    pub fn serve(&mut self) -> bool {
        let Some(name) = self.turns.pop_front() else { return false };
        self.in_room(&name, |audience, metrics| audience.serve(SLICE, metrics));
        match self.rooms.get_mut(&name) {
            Some(audience) if audience.is_behind() => self.turns.push_back(name),
            Some(audience) => audience.has_turn = false,
            None => {}
        }
        !self.turns.is_empty()
    }

    /// Runs `what` in a room. `what` returns how many messages and events have now reached every member.
    fn in_room(&mut self, name: &RoomName, what: impl FnOnce(&mut Audience, &MessageMetrics) -> usize) {
        if let Some(audience) = self.rooms.get_mut(name) {
            self.on_the_way -= what(audience, &self.metrics);
        }
    }

    fn announce(&mut self, announcement: &Arc<Announcement>) {
        let name = &announcement.room.name;
        let Some(audience) = self.rooms.get_mut(name) else { return };
        audience.announce(announcement);
        self.on_the_way += 1;
        if !std::mem::replace(&mut audience.has_turn, true) {
            self.turns.push_back(name.clone());
        }
    }

    fn dispatch(&mut self, batch: &Batch) {
        for (at, run) in batch.runs.iter().enumerate() {
            if run.room.lanes() & (1 << self.index) == 0 {
                continue;
            }
            let Some(audience) = self.rooms.get_mut(&run.room.name) else { continue };
            audience.put(&batch.runs, at);
            self.on_the_way += run.entries.len();
            if !std::mem::replace(&mut audience.has_turn, true) {
                self.turns.push_back(run.room.name.clone());
            }
        }
        let lane = self.index;
        for reply in batch.replies.iter().filter(|reply| reply.to.lane == lane) {
            let (room, id) = (&reply.to.room.name, reply.to.id());
            self.in_room(room, |audience, metrics| audience.reply(id, &reply.frames, metrics));
        }
    }

    fn leave(&mut self, member: &Arc<Member>) {
        let name = &member.room.name;
        self.in_room(name, |audience, metrics| audience.leave(member.id(), metrics));
        if self.rooms.get(name).is_some_and(|audience| audience.len() == 0) {
            self.rooms.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Event, Person},
        room::{member::Room, tests::Plain},
        socket::{flusher::Flusher, outbound::Outbound},
    };
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    struct Bench {
        audiences: Audiences,
        flusher: Arc<Flusher>,
        sockets: u64,
    }

    impl Bench {
        fn room(&mut self, name: &str, members: usize) -> (Arc<Room>, Vec<TcpStream>) {
            let room = Arc::new(Room::new(RoomName::channel(name), 1));
            let peers = (0..members).map(|_| self.join(&room)).collect();
            (room, peers)
        }

        fn join(&mut self, room: &Arc<Room>) -> TcpStream {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let stream = listener.accept().unwrap().0;
            self.sockets += 1;
            let outbound = Outbound::new(self.sockets, stream, 1 << 20, Duration::from_secs(20), self.flusher.clone());
            let person = Person::unnamed("member".into());
            room.enter(&person, 0);
            let member = Arc::new(Member { room: room.clone(), lane: 0, person, encoder: &Plain, outbound });
            self.audiences.handle(Command::Join(member.clone()));
            self.audiences.handle(Command::Release(member, None));
            peer
        }

        fn announce(&mut self, room: &Arc<Room>) {
            let event = Event::Joined(Person::unnamed("newcomer".into()));
            self.audiences.handle(Command::Announce(Arc::new(Announcement::new(room.clone(), event, None))));
        }
    }

    // Seen to fail with a `SLICE` of all members: the whole crowd is served before the other room has its turn.
    #[test]
    fn no_room_waits_until_all_of_a_large_one_are_told_what_happens_there() {
        let flusher = Flusher::start(usize::MAX).unwrap();
        let mut bench = Bench { audiences: Audiences::new(0, MessageMetrics::default()), flusher, sockets: 0 };
        let (crowd, _crowd_peers) = bench.room("crowd", SLICE + 1);
        let (small, mut peers) = bench.room("small", 1);
        bench.announce(&crowd);
        bench.announce(&small);
        assert!(bench.audiences.serve());
        assert_eq!(bench.audiences.on_the_way, 2, "a slice of the crowd is told");
        assert!(bench.audiences.serve());
        assert_eq!(bench.audiences.on_the_way, 1, "the small room is told");
        peers[0].read_exact(&mut [0]).unwrap();
        assert!(!bench.audiences.serve());
        assert_eq!(bench.audiences.on_the_way, 0, "the rest of the crowd is told");
    }
}

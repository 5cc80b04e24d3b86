//! A lane: one thread that delivers to its share of all members; whoever is at the desk (`log`) helps out when that
//! is less work than waking it.
//!
//! The contract, for whoever changes this file:
//!
//! 1. A lane never blocks except on its own channel, and while the desk delivers a few messages in its place: no
//!    store, no waiting send.
//! 2. A member gets a room's messages in the log's order, each once.
//! 3. What waits is joined: one send a member for all that the lane found waiting for its room.
//! 4. Joins, releases and leaves keep their place among the messages of their room.
//! 5. What is held for a newcomer is bounded as its socket's queue is.

use super::{
    figures::Figures,
    member::{Member, Room},
    message::{MessageId, RoomName},
    run::{Encoded, Run},
    voice::{Event, Voice},
};
use crate::{
    socket::{close::Close, frame},
    vital,
};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// What a lane is told.
pub(super) enum Command {
    Deliver(Batch),
    Announce {
        room: Arc<Room>,
        event: Arc<Event>,
        except: Option<u64>,
    },
    Join(Arc<Member>),
    Release(Arc<Member>, Option<MessageId>),
    Leave(Arc<Member>),
    Close {
        room: Arc<Room>,
        farewell: Bytes,
        close: Close,
    },
    /// Say so when what came before is sent.
    Settle(Sender<()>),
}

/// What was stored in one go.
#[derive(Clone)]
pub(super) struct Batch {
    pub runs: Arc<[Run]>,
    pub whispers: Arc<[Whisper]>,
}

/// Frames for one member alone, in their place among the messages.
pub(super) struct Whisper {
    pub to: Arc<Member>,
    pub frames: Bytes,
}

/// The most batches joined into one delivery, so that a flood can't keep the first of it waiting.
const JOINED: usize = 64;

/// The most members to whom the desk delivers by itself: about a quarter of a millisecond, for which the
/// next messages wait to be stored.
const AT_ONCE: usize = 128;

pub(super) struct Lane {
    commands: Receiver<Command>,
    /// Commands are taken from the channel under this lock only: who holds it and finds the channel empty knows
    /// that all earlier ones are done.
    hall: Mutex<Hall>,
}

/// Where a lane's members sit.
struct Hall {
    /// The lane's number.
    index: usize,
    rooms: HashMap<RoomName, Vec<Seat>>,
    figures: Figures,
}

struct Seat {
    member: Arc<Member>,
    /// `Some` until the newcomer's history is written.
    held: Option<Held>,
    /// The last message that the newcomer found in its history. What is stored can be read before it is
    /// delivered, so older messages may still arrive here.
    found: Option<MessageId>,
}

/// What a newcomer will hear when its history is written.
#[derive(Default)]
struct Held {
    items: Vec<HeldItem>,
    bytes: usize,
}

enum HeldItem {
    Messages(Arc<Encoded>),
    Other(Bytes),
}

impl Lane {
    pub fn new(index: usize, commands: Receiver<Command>, figures: Figures) -> Lane {
        Lane { commands, hall: Mutex::new(Hall { index, rooms: HashMap::new(), figures }) }
    }

    /// Runs until no sender is left.
    pub fn run(&self) {
        let mut told = true;
        while told {
            self.wait();
            vital::may_panic("lane");
            let mut hall = self.hall.lock();
            let mut waiting = Waiting::default();
            for _ in 0..JOINED {
                match self.commands.try_recv() {
                    Ok(command) => hall.obey(command, &mut waiting),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        told = false;
                        break;
                    }
                }
            }
            hall.deliver_all(&mut waiting);
        }
    }

    /// Waits until there is a command, and leaves it where it is.
    fn wait(&self) {
        let mut select = Select::new();
        select.recv(&self.commands);
        select.ready();
    }

    /// Delivers on the caller's thread, which saves the time that it takes to wake the lane's. Answers `false`, and
    /// does nothing, if the lane is at work already or there are many to deliver to: that is for
    /// [`Command::Deliver`].
    pub fn deliver_now(&self, batch: &Batch) -> bool {
        let Some(mut hall) = self.hall.try_lock() else { return false };
        if !self.commands.is_empty() || hall.sends(batch) > AT_ONCE {
            return false;
        }
        hall.deliver_all(&mut Waiting { batches: vec![batch.clone()] });
        true
    }
}

impl Hall {
    /// How many members would be sent something.
    fn sends(&self, batch: &Batch) -> usize {
        let members = |run: &Run| self.rooms.get(&run.room.name).map_or(0, Vec::len);
        batch.runs.iter().map(members).sum::<usize>() + batch.whispers.len()
    }

    fn obey(&mut self, command: Command, waiting: &mut Waiting) {
        match command {
            Command::Deliver(batch) => waiting.batches.push(batch),
            other => {
                self.deliver_all(waiting);
                match other {
                    Command::Deliver(_) => {}
                    Command::Announce { room, event, except } => self.announce(&room, &event, except),
                    Command::Join(member) => {
                        let seats = self.rooms.entry(member.room.name.clone()).or_default();
                        seats.push(Seat { member, held: Some(Held::default()), found: None });
                    }
                    Command::Release(member, last) => self.release(&member, last),
                    Command::Leave(member) => self.leave(&member),
                    Command::Close { room, farewell, close } => self.close(&room, &farewell, close),
                    // Fails if nobody waits any more.
                    Command::Settle(told) => drop(told.try_send(())),
                }
            }
        }
    }

    /// Delivers all that waits: for each room and door the frames are joined, for each member sent once.
    fn deliver_all(&mut self, waiting: &mut Waiting) {
        let batches = std::mem::take(&mut waiting.batches);
        let mut by_room: Vec<(&Arc<Room>, Vec<&Run>)> = Vec::new();
        let mut places: HashMap<*const Room, usize> = HashMap::new();
        for run in batches.iter().flat_map(|batch| batch.runs.iter()) {
            if run.room.lanes() & (1 << self.index) == 0 {
                continue;
            }
            let place = *places.entry(Arc::as_ptr(&run.room)).or_insert_with(|| {
                by_room.push((&run.room, Vec::new()));
                by_room.len() - 1
            });
            by_room[place].1.push(run);
        }
        for (room, runs) in by_room {
            if let Some(seats) = self.rooms.get_mut(&room.name) {
                let deliveries = deliver(seats, &runs);
                self.figures.delivered(deliveries, runs[0].stored);
            }
        }
        for whisper in batches.iter().flat_map(|batch| batch.whispers.iter()) {
            if whisper.to.lane == self.index {
                self.whisper(whisper);
            }
        }
    }

    fn whisper(&mut self, whisper: &Whisper) {
        let seat = self.rooms.get_mut(&whisper.to.room.name).and_then(|seats| find(seats, whisper.to.id()));
        if let Some(seat) = seat {
            seat.hear(&whisper.frames);
        }
    }

    fn announce(&mut self, room: &Room, event: &Event, except: Option<u64>) {
        let Some(seats) = self.rooms.get_mut(&room.name) else { return };
        let mut said: Vec<(&'static str, Bytes)> = Vec::new();
        for seat in seats.iter_mut().filter(|seat| Some(seat.member.id()) != except && !event.is_of(&seat.member.user))
        {
            let voice = seat.member.voice;
            let frames = match said.iter().find(|(name, _)| *name == voice.name()) {
                Some((_, frames)) => frames.clone(),
                None => {
                    let frames = event_frame(voice, room, event);
                    said.push((voice.name(), frames.clone()));
                    frames
                }
            };
            if !frames.is_empty() {
                seat.hear(&frames);
            }
        }
    }

    fn release(&mut self, member: &Arc<Member>, last: Option<MessageId>) {
        let seat = self.rooms.get_mut(&member.room.name).and_then(|seats| find(seats, member.id()));
        let Some(seat) = seat else { return };
        let Some(held) = seat.held.take() else { return };
        seat.found = last;
        let mut frames = Vec::with_capacity(held.bytes);
        for item in held.items {
            match (item, last) {
                (HeldItem::Messages(encoded), last) => {
                    let (new, count) = encoded.after(last.unwrap_or(MessageId::BEFORE_ALL));
                    frames.extend_from_slice(&new);
                    self.figures.deliveries.inc_by(count as u64);
                }
                (HeldItem::Other(other), _) => frames.extend_from_slice(&other),
            }
        }
        if !frames.is_empty() {
            member.outbound.send(&frames.into());
        }
    }

    /// Tells all members and closes them; each leaves when its own thread notices.
    fn close(&self, room: &Room, farewell: &Bytes, close: Close) {
        for seat in self.rooms.get(&room.name).into_iter().flatten() {
            seat.member.outbound.send(farewell);
            seat.member.outbound.close(close);
        }
    }

    fn leave(&mut self, member: &Arc<Member>) {
        if let Some(seats) = self.rooms.get_mut(&member.room.name) {
            if let Some(place) = seats.iter().position(|seat| seat.member.id() == member.id()) {
                seats.swap_remove(place);
            }
            if seats.is_empty() {
                self.rooms.remove(&member.room.name);
            }
        }
    }
}

/// Batches that were taken from the channel and not delivered yet.
#[derive(Default)]
struct Waiting {
    batches: Vec<Batch>,
}

fn find(seats: &mut [Seat], id: u64) -> Option<&mut Seat> {
    seats.iter_mut().find(|seat| seat.member.id() == id)
}

/// Sends a room's runs to its members: joined once for each door. Answers how many messages went out, once a member.
fn deliver(seats: &mut [Seat], runs: &[&Run]) -> usize {
    let messages: usize = runs.iter().map(|run| run.messages.len()).sum();
    let mut deliveries = 0;
    let mut joined: Vec<(&'static str, Bytes)> = Vec::new();
    for seat in seats {
        let voice = seat.member.voice;
        if let Some(held) = &mut seat.held {
            for run in runs {
                held.hold(&seat.member, HeldItem::Messages(run.encoded(voice)));
            }
            continue;
        }
        if let Some(found) = seat.found
            && let Some(new) = seat.is_ahead(found, runs)
        {
            deliveries += new;
            continue;
        }
        deliveries += messages;
        match joined.iter().find(|(name, _)| *name == voice.name()) {
            Some((_, frames)) => seat.member.outbound.send(frames),
            None => {
                let frames = join(voice, runs);
                seat.member.outbound.send(&frames);
                joined.push((voice.name(), frames));
            }
        }
    }
    deliveries
}

fn join(voice: &dyn Voice, runs: &[&Run]) -> Bytes {
    match runs {
        [run] => run.encoded(voice).frames.clone(),
        runs => {
            let encoded: Vec<_> = runs.iter().map(|run| run.encoded(voice)).collect();
            let mut frames = Vec::with_capacity(encoded.iter().map(|encoded| encoded.frames.len()).sum());
            for encoded in encoded {
                frames.extend_from_slice(&encoded.frames);
            }
            frames.into()
        }
    }
}

fn event_frame(voice: &dyn Voice, room: &Room, event: &Event) -> Bytes {
    let mut text = Vec::new();
    voice.event(&room.name, event, &mut text);
    if text.is_empty() {
        return Bytes::new();
    }
    let mut out = Vec::with_capacity(text.len() + 4);
    frame::text(&mut out, |out| out.extend_from_slice(&text));
    out.into()
}

impl Seat {
    /// Whether a member whose history ended with `found` knows some of these runs already; then it is sent the
    /// others, and this is how many.
    fn is_ahead(&mut self, found: MessageId, runs: &[&Run]) -> Option<usize> {
        let first = runs.first().and_then(|run| run.messages.first());
        if first.is_none_or(|message| message.id > found) {
            // Ids only grow: from now on everything is new.
            self.found = None;
            return None;
        }
        let mut sent = 0;
        for run in runs {
            let (new, count) = run.encoded(self.member.voice).after(found);
            if count > 0 {
                self.member.outbound.send(&new);
                sent += count;
            }
        }
        Some(sent)
    }

    fn hear(&mut self, frames: &Bytes) {
        match &mut self.held {
            Some(held) => held.hold(&self.member, HeldItem::Other(frames.clone())),
            None => self.member.outbound.send(frames),
        }
    }
}

impl Held {
    fn hold(&mut self, member: &Member, item: HeldItem) {
        self.bytes += match &item {
            HeldItem::Messages(encoded) => encoded.frames.len(),
            HeldItem::Other(frames) => frames.len(),
        };
        if self.bytes > member.outbound.limit() {
            self.items.clear();
            member.outbound.drop_member();
        } else {
            self.items.push(item);
        }
    }
}

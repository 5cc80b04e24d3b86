//! What this process hears of the feed: lines to all servers, opened again when one breaks.

use super::{
    channels::Reach,
    fleet::Fleet,
    id::{EntryId, Tail},
    interests::Interests,
    line::{Heard, Line, Place},
    shared::Redis,
    wire::{self, Frame},
};
use crate::{
    entry::Entry,
    event::{Event, Person},
    message::RoomName,
    store::feed::{FeedItem, FeedListener, Stored},
    vital,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use redis::RedisResult;
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How long one attempt to subscribe waits for Redis before it returns to its caller.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many frames the lines to the servers of a cluster may have heard before they are taken from them. A frame may be
/// as long as a batch of messages; what waits further is bounded by the server.
const HEARD: usize = 64;

/// The subscriptions of this process.
pub(super) struct Subscription {
    redis: Arc<Redis>,
    interests: Arc<Interests>,
    state: Subscribed,
    /// Whether the last attempt to subscribe failed; that is logged once.
    refused: bool,
    /// What is to be told before anything else is heard.
    waiting: VecDeque<FeedItem>,
    names: Names,
}

/// Names of users whose events come next. There are only as many as were published between a name and its event.
#[derive(Default)]
struct Names(VecDeque<(RoomName, Person)>);

impl Names {
    const MOST: usize = 64;

    fn keep(&mut self, room: RoomName, person: Person) {
        self.0.truncate(Self::MOST - 1);
        self.0.push_front((room, person));
    }

    /// Puts the name into the event, if the user's name came before it.
    fn put_into(&mut self, room: &RoomName, event: &mut Event) {
        let (Event::Joined(person) | Event::Left(person) | Event::Typing(person)) = event else { return };
        let place = self.0.iter().position(|(other, named)| other == room && named.user == person.user);
        if let Some((_, named)) = place.and_then(|place| self.0.remove(place)) {
            *person = named;
        }
    }
}

enum Subscribed {
    /// `generation`: that of the fleet whose subscription broke.
    No {
        generation: Option<u64>,
    },
    Yes {
        generation: u64,
        lines: Lines,
    },
}

impl Subscription {
    pub fn new(redis: Arc<Redis>) -> Subscription {
        let (interests, state) = (redis.interests.clone(), Subscribed::No { generation: None });
        Subscription { redis, interests, state, refused: false, waiting: VecDeque::new(), names: Names::default() }
    }
}

impl FeedListener for Subscription {
    fn next(&mut self, wanted: &dyn Fn(&RoomName) -> bool, all: bool) -> FeedItem {
        self.interests.hear_of_all(all);
        if let Some(item) = self.waiting.pop_front() {
            return item;
        }
        match &mut self.state {
            Subscribed::No { generation } => {
                let Some(fleet) = self.redis.health.wait_for_other(*generation, PATIENCE) else {
                    return FeedItem::Nothing;
                };
                let places = places(&fleet);
                let wakes = places.iter().map(|place| fleet.wake_channel(place.master, &self.redis.node));
                let ended = self.interests.begin(fleet.clone(), wakes.collect());
                self.waiting.extend(ended.into_iter().map(FeedItem::Ended));
                match Lines::open(&self.redis, &self.interests, &fleet, &places) {
                    Ok(lines) => self.state = Subscribed::Yes { generation: fleet.generation, lines },
                    Err(error) => {
                        if !std::mem::replace(&mut self.refused, true) {
                            tracing::warn!(%error, "can't subscribe to what other nodes publish; trying again");
                        }
                        self.broke(fleet.generation, error.is_timeout());
                        // Redis may work and refuse only this, for example because of an ACL.
                        thread::sleep(PATIENCE);
                    }
                }
                FeedItem::Nothing
            }
            Subscribed::Yes { generation, lines } => match lines.next() {
                Ok(heard) => self.item(heard, wanted, all),
                Err(error) => {
                    tracing::debug!(%error, "a subscription broke");
                    let generation = *generation;
                    // The feed is often the first to notice that Redis is gone.
                    self.broke(generation, false);
                    FeedItem::Nothing
                }
            },
        }
    }
}

impl Subscription {
    fn broke(&mut self, generation: u64, timed_out: bool) {
        self.interests.lost();
        self.redis.health.report_failure(generation, timed_out);
        self.state = Subscribed::No { generation: Some(generation) };
    }

    fn item(&mut self, heard: Heard, wanted: &dyn Fn(&RoomName) -> bool, all: bool) -> FeedItem {
        match heard {
            Heard::OfRoom(frame) => self.read(&frame, wanted, None),
            Heard::OfAny(frame) => self.read(&frame, wanted, Some(all)),
            Heard::Ended(room) => FeedItem::Ended(room),
            Heard::Back(room) => FeedItem::Back(room),
            Heard::OfAll => FeedItem::OfAll,
            Heard::Begun => {
                self.refused = false;
                FeedItem::Subscribed
            }
            Heard::Nothing => FeedItem::Nothing,
        }
    }

    /// `of_any`: the frame was not published for the members of one room; and whether this node wants to know of all.
    fn read(&mut self, frame: &[u8], wanted: &dyn Fn(&RoomName) -> bool, of_any: Option<bool>) -> FeedItem {
        let redis = &self.redis;
        match Frame::read(frame) {
            Some(Frame::Stored { room, frames }) => {
                let last = frames.last;
                redis.floors.raise(&room, last);
                // A node of a version before tells everybody. A position is kept only for a room that is heard: what is
                // said in it by others would be missing.
                if of_any.is_some() && !self.interests.is_heard(&room) {
                    if of_any != Some(true) {
                        return FeedItem::Nothing;
                    }
                    let entries = frames.read(&room).map_or_else(Vec::new, |(_, entries)| entries);
                    let by = wire::authors(entries.iter().map(Entry::by)).into_iter().cloned().collect();
                    return noted(room, last, by);
                }
                match if wanted(&room) { frames.read(&room) } else { None } {
                    Some((before, entries)) => FeedItem::Stored(Stored { room, before, entries }),
                    None => FeedItem::Nothing,
                }
            }
            Some(Frame::Noted { room, last, by }) => noted(room, last, by),
            Some(Frame::Named { room, person }) if wanted(&room) => {
                self.names.keep(room, person);
                FeedItem::Nothing
            }
            Some(Frame::Event { room, node: from, mut event })
                if room.as_ref().is_none_or(wanted) || of_any == Some(true) =>
            {
                // This node has already handled its own events, but for those that are about what Redis did.
                let is_of_redis = matches!(event, Event::Joined(_) | Event::Left(_));
                let echo = from == redis.node.as_bytes() && !is_of_redis;
                if let Some(room) = &room {
                    self.names.put_into(room, &mut event);
                }
                if echo { FeedItem::Nothing } else { FeedItem::Event { room, event } }
            }
            _ => FeedItem::Nothing,
        }
    }
}

/// The lines to all servers.
enum Lines {
    /// To the only server. It is read by whoever listens: no other thread has to be woken for a message.
    One(Box<Line>),
    /// To the servers of a cluster, each with its thread.
    Many {
        heard: Receiver<RedisResult<Heard>>,
        stop: Arc<AtomicBool>,
        /// How many have not begun yet.
        beginning: usize,
    },
}

impl Lines {
    fn open(
        redis: &Arc<Redis>,
        interests: &Arc<Interests>,
        fleet: &Arc<Fleet>,
        places: &[Place],
    ) -> RedisResult<Lines> {
        let open = |place| Line::open(redis, interests, fleet, place);
        if let [only] = places {
            return Ok(Lines::One(Box::new(open(*only)?)));
        }
        let (sender, heard) = bounded(HEARD);
        let stop = Arc::new(AtomicBool::new(false));
        let lines = Lines::Many { heard, stop: stop.clone(), beginning: places.len() };
        for place in places {
            let (mut line, sender, stop) = (open(*place)?, sender.clone(), stop.clone());
            vital::spawn(format!("redis-feed-{}", place.line), move || follow(&mut line, &sender, &stop))?;
        }
        Ok(lines)
    }

    fn next(&mut self) -> RedisResult<Heard> {
        match self {
            Lines::One(line) => line.next(),
            Lines::Many { heard, beginning, .. } => match heard.recv_timeout(PATIENCE) {
                Ok(Ok(Heard::Begun)) => {
                    *beginning -= 1;
                    Ok(if *beginning == 0 { Heard::Begun } else { Heard::Nothing })
                }
                Ok(heard) => heard,
                Err(RecvTimeoutError::Timeout) => Ok(Heard::Nothing),
                Err(RecvTimeoutError::Disconnected) => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
            },
        }
    }
}

/// To which servers lines are needed.
fn places(fleet: &Fleet) -> Vec<Place> {
    // In a cluster every server passes on what is published on an ordinary channel at any other, so the nodes spread
    // over them.
    let main = rand::random_range(0..fleet.masters.len());
    match fleet.reach {
        Reach::Everybody => vec![Place { line: 0, master: main, is_main: true }],
        Reach::Ordinary | Reach::Sharded => {
            (0..fleet.masters.len()).map(|n| Place { line: n, master: n, is_main: n == main }).collect()
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Lines::Many { stop, .. } = self {
            stop.store(true, Ordering::Release);
        }
    }
}

/// Reads a line until it breaks, or until nobody listens.
fn follow(line: &mut Line, sender: &Sender<RedisResult<Heard>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        vital::may_panic("redis-feed");
        let heard = line.next();
        let is_over = heard.is_err();
        if matches!(heard, Ok(Heard::Nothing)) {
            continue;
        }
        if sender.send(heard).is_err() || is_over {
            return;
        }
    }
}

fn noted(room: RoomName, last: EntryId, by: Vec<Arc<str>>) -> FeedItem {
    let last = Tail::of(&room).message_id(last);
    // Also told if nobody is named.
    let by = if by.is_empty() { vec![Arc::default()] } else { by };
    FeedItem::Noted { room, last, by }
}

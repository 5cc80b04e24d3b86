//! What all nodes store and tell each other, as it happens: a subscription to the feed channel.
//!
//! Redis does not guarantee that published frames arrive: a connection may break, and Redis cuts off a slow reader. So
//! each frame names the message before it, and `room::feed` finds out what is missing.

use super::{
    call::Call,
    failure::{Failure, failed},
    fleet::Fleet,
    id::{EntryId, Tail},
    keys::Keys,
    presence::RedisPresence,
    read, script,
    server::{CONNECT, Wire},
    shared::Redis,
    wire::{self, Frame},
};
use crate::{
    entry::Entry,
    event::{Event, Person},
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        feed::{Feed, FeedItem, FeedListener, Stored},
        presence::Presence,
    },
    vital,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use redis::{RedisResult, Value, cmd};
use std::{collections::VecDeque, io, sync::Arc, thread, time::Duration};

const STORE: &str = "message log";

/// A feed that is silent for this long is broken: every node publishes a beat each second.
const SILENCE: Duration = Duration::from_secs(5);

/// How long one attempt to subscribe waits for Redis before it returns to its caller.
const PATIENCE: Duration = Duration::from_secs(1);

/// Events that may wait to be published. Further ones are dropped.
const EVENTS: usize = 1024;

/// How many of them may be such as users cause: nobody misses a typing notice, and a flood of them must leave space for
/// what operators and backends have done, which other nodes would not hear of otherwise.
const OF_USERS: usize = 256;

pub struct RedisFeed {
    redis: Arc<Redis>,
    presence: Arc<RedisPresence>,
    events: Waiting,
}

/// Events that wait to be published.
struct Waiting(Sender<Vec<u8>>);

impl RedisFeed {
    pub(super) fn start(redis: Arc<Redis>) -> io::Result<RedisFeed> {
        let (events, waiting) = bounded(EVENTS);
        let courier = redis.clone();
        vital::spawn("redis-events", move || publish(&courier, &waiting))?;
        Ok(RedisFeed { presence: Arc::new(RedisPresence::new(redis.clone())), redis, events: Waiting(events) })
    }
}

/// Publishes events until no sender is left.
fn publish(redis: &Redis, waiting: &Receiver<Vec<u8>>) {
    while let Ok(first) = waiting.recv() {
        vital::may_panic("redis-events");
        let events = std::iter::once(first).chain(waiting.try_iter()).take(EVENTS);
        let calls: Vec<Call> =
            events.map(|event| Call::command(&redis.channel, cmd("PUBLISH").arg(&redis.channel).arg(event))).collect();
        // While Redis is away this node can't tell anyone, and later the events are out of date.
        if let Ok(fleet) = redis.fleet() {
            drop(redis.health.run(&fleet, &calls));
        }
    }
}

impl Feed for RedisFeed {
    fn listen(&self) -> Box<dyn FeedListener> {
        let state = Subscribed::No { generation: None };
        Box::new(Subscription { redis: self.redis.clone(), state, refused: false, names: Names::default() })
    }

    fn newest(&self, rooms: &[RoomName]) -> Result<Vec<MessageId>, StoreError> {
        let calls: Vec<Call> = rooms
            .iter()
            .map(|room| {
                let head = Keys(room).head();
                Call::command(&head, cmd("HGET").arg(&head).arg("last"))
            })
            .collect();
        let newest = self.redis.read(&calls).and_then(|answers| {
            let ids = rooms.iter().zip(answers).map(|(room, answer)| match answer? {
                Value::Nil => Ok(MessageId::BEFORE_ALL),
                Value::BulkString(id) => {
                    let id = EntryId::parse(&id).ok_or(Failure::Unreadable)?;
                    self.redis.floors.raise(room, id);
                    Ok(Tail::of(room).message_id(id))
                }
                _ => Err(Failure::Unreadable),
            });
            ids.collect::<Result<Vec<_>, _>>()
        });
        newest.map_err(failed(STORE, "name a room's last message"))
    }

    fn missed(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        read::after(&self.redis, room, after, limit).map_err(failed(STORE, "read what was missed"))
    }

    fn raise(&self, room: &RoomName, shown: MessageId) -> Result<(), StoreError> {
        let call = Call::script(&script::RAISE, &[&Keys(room).head()], |command| {
            command.arg(EntryId::of(shown).to_string());
        });
        self.redis.read_one(call).map(drop).map_err(failed(STORE, "raise a room's ids"))
    }

    fn announce(&self, room: &RoomName, event: &Event) {
        for frame in wire::write_event(room, &self.redis.node, event) {
            self.events.add(event, frame);
        }
    }

    fn presence(&self) -> Arc<dyn Presence> {
        self.presence.clone()
    }
}

impl Waiting {
    /// Adds a frame of this event, unless there is no space for it.
    fn add(&self, event: &Event, frame: Vec<u8>) {
        let is_frequent = matches!(event, Event::Typing(_) | Event::Read { .. });
        if !is_frequent || self.0.len() < OF_USERS {
            // If the queue is full, the event is dropped: see `EVENTS`.
            let _ = self.0.try_send(frame);
        }
    }
}

/// The one subscription of this process.
struct Subscription {
    redis: Arc<Redis>,
    state: Subscribed,
    /// Whether the last attempt to subscribe failed; that is logged once.
    refused: bool,
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
        wire: Wire,
    },
}

impl FeedListener for Subscription {
    fn next(&mut self, wanted: &dyn Fn(&RoomName) -> bool) -> FeedItem {
        match &mut self.state {
            Subscribed::No { generation } => {
                let Some(fleet) = self.redis.health.wait_for_other(*generation, PATIENCE) else {
                    return FeedItem::Nothing;
                };
                match subscribe(&self.redis, &fleet) {
                    Ok(wire) => {
                        self.refused = false;
                        self.state = Subscribed::Yes { generation: fleet.generation, wire };
                        FeedItem::Subscribed
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut self.refused, true) {
                            tracing::warn!(%error, "can't subscribe to what other nodes publish; trying again");
                        }
                        self.redis.health.report_failure(fleet.generation, error.is_timeout());
                        self.state = Subscribed::No { generation: Some(fleet.generation) };
                        // Redis may work and refuse only this, for example because of an ACL.
                        thread::sleep(PATIENCE);
                        FeedItem::Nothing
                    }
                }
            }
            Subscribed::Yes { generation, wire } => match wire.receive() {
                Ok(answer) => heard(&self.redis, answer, wanted, &mut self.names),
                Err(_) => {
                    // The feed is often the first to notice that Redis is gone.
                    self.redis.health.report_failure(*generation, false);
                    self.state = Subscribed::No { generation: Some(*generation) };
                    FeedItem::Nothing
                }
            },
        }
    }
}

fn subscribe(redis: &Redis, fleet: &Fleet) -> RedisResult<Wire> {
    // In a cluster every server passes on what is published at any other, so the nodes spread over them.
    let master = &fleet.masters[rand::random_range(0..fleet.masters.len())];
    let mut wire = master.server.open(CONNECT, CONNECT)?;
    wire.ask(&cmd("SUBSCRIBE").arg(&redis.channel).get_packed_command())?;
    wire.patience(SILENCE)?;
    Ok(wire)
}

/// Reads `[message, channel, frame]`.
fn heard(redis: &Redis, answer: Value, wanted: &dyn Fn(&RoomName) -> bool, names: &mut Names) -> FeedItem {
    let Value::Array(answer) = answer else { return FeedItem::Nothing };
    let [_, _, Value::BulkString(frame)] = &answer[..] else { return FeedItem::Nothing };
    match Frame::read(frame) {
        Some(Frame::Stored { room, frames }) => {
            // Rooms without members here count too: a client that saw the entry may come back, and append through this
            // node.
            redis.floors.raise(&room, frames.last().unwrap_or(EntryId::ZERO));
            match if wanted(&room) { frames.read(&room) } else { None } {
                Some((before, entries)) => FeedItem::Stored(Stored { room, before, entries }),
                None => FeedItem::Nothing,
            }
        }
        // An event without a room is for all rooms.
        Some(Frame::Named { room, person }) if wanted(&room) => {
            names.keep(room, person);
            FeedItem::Nothing
        }
        Some(Frame::Event { room, node: from, mut event }) if room.as_str().is_empty() || wanted(&room) => {
            // This node has already handled its own events. Redis decides about joins and leaves, so those count.
            let echo = from == redis.node.as_bytes() && !matches!(event, Event::Joined(_) | Event::Left(_));
            names.put_into(&room, &mut event);
            if echo { FeedItem::Nothing } else { FeedItem::Event { room, event } }
        }
        _ => FeedItem::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Once all events shared 256 places.
    #[test]
    fn a_flood_of_typing_leaves_space_for_what_operators_do() {
        let (events, waiting) = bounded(EVENTS);
        let waits = Waiting(events);
        let typing = Event::Typing(Person::unnamed("somebody".into()));
        for _ in 0..10 * EVENTS {
            waits.add(&typing, b"typing".to_vec());
        }
        waits.add(&Event::Disconnect { account: 7 }, b"disconnect".to_vec());
        waits.add(&Event::Shut { deleted: true }, b"shut".to_vec());
        let told: Vec<_> = waiting.try_iter().collect();
        assert_eq!(told.len(), OF_USERS + 2);
        assert_eq!(told[OF_USERS..], [b"disconnect".to_vec(), b"shut".to_vec()]);
    }
}

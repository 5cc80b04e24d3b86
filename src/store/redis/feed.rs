//! What all nodes store and tell each other, as it happens: subscriptions to the channels of rooms that somebody here
//! wants to hear, and to the channel of all nodes.
//!
//! Redis does not guarantee that published frames arrive: a connection may break, and Redis cuts off a slow reader. So
//! each frame names the message before it, and `room::feed` finds out what is missing.

use super::{
    call::Call,
    failure::{Failure, failed},
    id::{EntryId, Tail},
    interests::Progress,
    keys::Keys,
    presence::RedisPresence,
    read, script, server,
    shared::Redis,
    subscription::Subscription,
    wire,
};
use crate::{
    entry::Entry,
    event::Event,
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        feed::{Feed, FeedListener},
        presence::Presence,
    },
    vital,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use redis::{Value, cmd};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

const STORE: &str = "message log";

/// How often whoever waits for a room looks whether Redis is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);

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
struct Waiting(Sender<Publication>);

/// The frame of an event, and the room whose members alone it is for.
type Publication = (Option<RoomName>, Vec<u8>);

impl RedisFeed {
    pub(super) fn start(redis: Arc<Redis>) -> io::Result<RedisFeed> {
        let (events, waiting) = bounded(EVENTS);
        let courier = redis.clone();
        vital::spawn("redis-events", move || publish(&courier, &waiting))?;
        Ok(RedisFeed { presence: Arc::new(RedisPresence::new(redis.clone())), redis, events: Waiting(events) })
    }
}

/// Publishes events until no sender is left.
fn publish(redis: &Redis, waiting: &Receiver<Publication>) {
    while let Ok(first) = waiting.recv() {
        vital::may_panic("redis-events");
        // While Redis is away this node can't tell anyone, and later the event is out of date.
        let Ok(fleet) = redis.fleet() else { continue };
        let events = std::iter::once(first).chain(waiting.try_iter()).take(EVENTS);
        let calls: Vec<Call> = events
            .map(|(members_of, event)| {
                let (command, channel) = redis.way(&fleet, members_of.as_ref());
                Call::command(&channel, cmd(command).arg(&channel).arg(event))
            })
            .collect();
        drop(redis.health.run(&fleet, &calls));
    }
}

impl Feed for RedisFeed {
    fn listen(&self) -> Box<dyn FeedListener> {
        Box::new(Subscription::new(self.redis.clone()))
    }

    fn want(&self, room: &RoomName) {
        self.redis.interests.want(room);
    }

    fn unwant(&self, room: &RoomName) {
        self.redis.interests.unwant(room);
    }

    fn wait_for(&self, room: &RoomName) -> Result<(), StoreError> {
        let (interests, until) = (&self.redis.interests, Instant::now() + server::ANSWER);
        loop {
            let progress = interests.progress(room);
            if progress == Progress::Heard {
                return Ok(());
            }
            let fleet = self.redis.fleet().and_then(|fleet| {
                let is_late = || Failure::Away("what is said in a room can't be heard".into());
                if Instant::now() < until { Ok(fleet) } else { Err(is_late()) }
            });
            let fleet = fleet.map_err(failed(STORE, "hear a room"))?;
            if let Progress::Wake(channel) = progress {
                self.redis.wake(&fleet, &channel);
            }
            interests.wait(room, until.min(Instant::now() + LOOK_EVERY));
        }
    }

    fn rooms(&self) -> usize {
        self.redis.interests.count()
    }

    fn newest(&self, rooms: &[RoomName]) -> Result<Vec<MessageId>, StoreError> {
        let calls: Vec<Call> = rooms
            .iter()
            .map(|room| {
                let head = Keys(room).head();
                Call::command(&head, cmd("HGET").arg(&head).arg("last")).soon()
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

    fn announce(&self, room: Option<&RoomName>, event: &Event) {
        let members_of = room.filter(|_| matches!(event, Event::Typing(_)));
        for frame in wire::write_event(room, &self.redis.node, event) {
            self.events.add(event, (members_of.cloned(), frame));
        }
    }

    fn presence(&self) -> Arc<dyn Presence> {
        self.presence.clone()
    }
}

impl Waiting {
    /// Adds a frame of this event, unless there is no space for it.
    fn add(&self, event: &Event, frame: Publication) {
        let is_frequent = matches!(event, Event::Typing(_) | Event::Read { .. });
        if !is_frequent || self.0.len() < OF_USERS {
            // If the queue is full, the event is dropped: see `EVENTS`.
            let _ = self.0.try_send(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Person;

    // Once all events shared 256 places.
    #[test]
    fn a_flood_of_typing_leaves_space_for_what_operators_do() {
        let (events, waiting) = bounded(EVENTS);
        let waits = Waiting(events);
        let add = |event: &Event, frame: &[u8]| waits.add(event, (None, frame.to_vec()));
        let typing = Event::Typing(Person::unnamed("somebody".into()));
        for _ in 0..10 * EVENTS {
            add(&typing, b"typing");
        }
        add(&Event::Disconnect { account: 7 }, b"disconnect");
        add(&Event::Shut { deleted: true }, b"shut");
        let told: Vec<_> = waiting.try_iter().map(|(_, frame)| frame).collect();
        assert_eq!(told.len(), OF_USERS + 2);
        assert_eq!(told[OF_USERS..], [b"disconnect".to_vec(), b"shut".to_vec()]);
    }
}

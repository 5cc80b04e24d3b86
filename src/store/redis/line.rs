//! One connection that is subscribed: to the channels of rooms that one server has.
//!
//! Its thread waits for what comes next, so it can't see by itself that there is a room to subscribe to. Whoever wants
//! it to look publishes on a channel of this connection alone. So do the beats, in case that is lost.

use super::{
    channels::Reach,
    fleet::Fleet,
    interests::{Interests, Task},
    server::{CONNECT, SOON, Wire},
    shared::Redis,
    wire::BEAT,
};
use crate::message::RoomName;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value, cmd};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// A connection that is silent for this long is broken: every node publishes a beat each second. Redis counts as away
/// sooner, after [`SOON`].
const SILENCE: Duration = Duration::from_secs(4);

/// How long other nodes may need to notice that this one wants to know of all rooms.
const NOTICED: Duration = Duration::from_secs(3);

/// How many rooms are asked for at a time. A server cuts off whoever leaves too many answers unread, and what is said in
/// other rooms comes between them.
const AT_ONCE: usize = 1000;

pub(super) struct Line {
    redis: Arc<Redis>,
    interests: Arc<Interests>,
    fleet: Arc<Fleet>,
    place: Place,
    wire: Wire,
    wake: String,
    /// What was asked and is not confirmed yet, in this order.
    asked: VecDeque<Task>,
    /// How much more there is to ask.
    left: usize,
    beginning: Beginning,
    /// What is to be told before anything else is heard.
    told: VecDeque<Heard>,
    /// Since when it hears of what is stored in all rooms, and whether that was said.
    news: Option<(Instant, bool)>,
}

/// Whether the rooms are heard that were wanted when the line was opened.
enum Beginning {
    /// Not all are asked for yet.
    Asking,
    /// So many answers are missing.
    Waiting(usize),
    Over,
}

/// Where a line leads.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its number among the lines.
    pub line: usize,
    /// The number of its server in the fleet.
    pub master: usize,
    /// Whether it is the one that hears what is not of one room.
    pub is_main: bool,
}

/// What comes over a line.
pub(super) enum Heard {
    /// A frame, on the channel of a room.
    OfRoom(Vec<u8>),
    /// A frame, on a channel for all rooms.
    OfAny(Vec<u8>),
    /// This room is not heard any more, since nobody wants it.
    Ended(RoomName),
    /// This room is heard again; something may have been missed.
    Back(RoomName),
    /// All rooms are heard that were wanted at the beginning.
    Begun,
    /// From now on it is told what is stored in any room. It may have missed something before.
    OfAll,
    Nothing,
}

impl Line {
    pub fn open(redis: &Arc<Redis>, interests: &Arc<Interests>, fleet: &Arc<Fleet>, place: Place) -> RedisResult<Line> {
        let mut wire = fleet.masters[place.master].server.open(CONNECT, SOON)?;
        let (channels, wake) = (&redis.channels, fleet.wake_channel(place.master, &redis.node));
        let mut both = cmd("SUBSCRIBE");
        both.arg(&channels.everybody);
        if fleet.reach != Reach::Everybody {
            // In one command: see `Channels::knowing`.
            both.arg(&channels.knowing);
        }
        let both = if place.is_main { both.get_packed_command() } else { Vec::new() };
        let own = cmd(fleet.reach.subscribe()).arg(&wake).get_packed_command();
        wire.send(&[both, own].concat())?;
        // All rooms are compared after the beginning, so nothing is lost of what comes before it.
        while !is_confirmation(wire.receive()?, &wake)? {}
        wire.patience(SILENCE)?;
        let (redis, interests, fleet) = (redis.clone(), interests.clone(), fleet.clone());
        let (asked, told, news, beginning) = (VecDeque::new(), VecDeque::new(), None, Beginning::Asking);
        let mut line = Line { redis, interests, fleet, place, wire, wake, asked, left: 0, beginning, told, news };
        line.work()?;
        Ok(line)
    }

    /// Waits for what comes next, at most some seconds.
    pub fn next(&mut self) -> RedisResult<Heard> {
        if let Some(told) = self.told.pop_front() {
            return Ok(told);
        }
        if matches!(self.beginning, Beginning::Waiting(0)) {
            self.beginning = Beginning::Over;
            return Ok(Heard::Begun);
        }
        let parts = match self.wire.receive()? {
            Value::Array(parts) => parts,
            answer => return answer.extract_error().map_or_else(|error| self.refused(error), |_| Ok(Heard::Nothing)),
        };
        let Ok([Value::BulkString(kind), Value::BulkString(channel), said]) = <[Value; 3]>::try_from(parts) else {
            return Ok(Heard::Nothing);
        };
        match (&kind[..], said) {
            (b"message" | b"smessage", Value::BulkString(frame)) => self.message(&channel, frame),
            (b"subscribe" | b"ssubscribe", _) => self.subscribed(&channel),
            (b"unsubscribe" | b"sunsubscribe", _) => self.unsubscribed(&channel),
            _ => Ok(Heard::Nothing),
        }
    }

    fn message(&mut self, channel: &[u8], frame: Vec<u8>) -> RedisResult<Heard> {
        let channels = &self.redis.channels;
        let is_wake = channel == self.wake.as_bytes();
        if is_wake || frame == BEAT {
            self.work()?;
            return Ok(self.hears_of_all());
        }
        let is_of_any = channel == channels.everybody.as_bytes() || channel == channels.news.as_bytes();
        Ok(if is_of_any { Heard::OfAny(frame) } else { Heard::OfRoom(frame) })
    }

    fn subscribed(&mut self, channel: &[u8]) -> RedisResult<Heard> {
        let Some(room) = self.redis.channels.room_of(channel) else { return Ok(Heard::Nothing) };
        self.answered();
        if self.left > 0 && self.asked.len() <= AT_ONCE / 2 {
            self.work()?;
        }
        Ok(if self.interests.heard(&self.fleet, &room) { Heard::Back(room) } else { Heard::Nothing })
    }

    fn unsubscribed(&mut self, channel: &[u8]) -> RedisResult<Heard> {
        let Some(room) = self.redis.channels.room_of(channel) else {
            // The slot of the channel by which it is woken has moved.
            let is_wake = channel == self.wake.as_bytes();
            return if is_wake { Err(moved_away()) } else { Ok(Heard::Nothing) };
        };
        if self.asked.front() == Some(&Task::End(room.clone())) {
            self.answered();
            self.interests.ended(&self.fleet, &room);
            self.work()?;
            return Ok(Heard::Ended(room));
        }
        // A cluster ends subscriptions when their slot is elsewhere. Asked again, it says where.
        self.interests.moved(&self.fleet, &room, None);
        self.work()?;
        Ok(Heard::Nothing)
    }

    /// A command was refused.
    fn refused(&mut self, error: RedisError) -> RedisResult<Heard> {
        let task = self.answered();
        let (Some(task), ErrorKind::Server(ServerErrorKind::Moved)) = (task, error.kind()) else { return Err(error) };
        let room = match task {
            Task::Hear(room) => room,
            // The subscription ended when the slot moved.
            Task::End(room) => {
                self.interests.ended(&self.fleet, &room);
                return Ok(Heard::Ended(room));
            }
        };
        let there = self.fleet.redirected(&error).ok_or_else(moved_away)?;
        if let Some(wake) = self.interests.moved(&self.fleet, &room, Some(there)) {
            self.redis.wake(&self.fleet, &wake);
        }
        Ok(Heard::Nothing)
    }

    /// The oldest command is answered.
    fn answered(&mut self) -> Option<Task> {
        let task = self.asked.pop_front()?;
        if let Beginning::Waiting(left) = &mut self.beginning {
            *left = left.saturating_sub(1);
        }
        Some(task)
    }

    /// Does what there is to do.
    fn work(&mut self) -> RedisResult<()> {
        let reach = self.fleet.reach;
        if reach == Reach::Sharded && !self.redis.health.has_fleet(self.fleet.generation) {
            return Err(moved_away());
        }
        let tasks;
        let most = if reach == Reach::Everybody { usize::MAX } else { AT_ONCE.saturating_sub(self.asked.len()) };
        (tasks, self.left) = self.interests.take(&self.fleet, self.place.line, most);
        if reach == Reach::Everybody {
            tasks.into_iter().for_each(|task| self.done(task));
        } else {
            self.ask(tasks)?;
        }
        if self.left == 0 && matches!(self.beginning, Beginning::Asking) {
            self.beginning = Beginning::Waiting(self.asked.len());
        }
        let wants_news = self.place.is_main && self.interests.hears_of_all();
        if wants_news != self.news.is_some() {
            let command = if wants_news { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
            self.wire.send(&cmd(command).arg(&self.redis.channels.news).get_packed_command())?;
            self.news = wants_news.then(|| (Instant::now(), false));
        }
        Ok(())
    }

    /// Asks the server, in one go.
    fn ask(&mut self, tasks: Vec<Task>) -> RedisResult<()> {
        let mut commands = Vec::new();
        for task in &tasks {
            let (command, room) = match task {
                Task::Hear(room) => (self.fleet.reach.subscribe(), room),
                Task::End(room) => (self.fleet.reach.unsubscribe(), room),
            };
            commands.extend(cmd(command).arg(self.redis.channels.room(room)).get_packed_command());
        }
        self.asked.extend(tasks);
        if commands.is_empty() { Ok(()) } else { self.wire.send(&commands) }
    }

    /// Everything is heard anyway.
    fn done(&mut self, task: Task) {
        match task {
            Task::Hear(room) => {
                if self.interests.heard(&self.fleet, &room) {
                    self.told.push_back(Heard::Back(room));
                }
            }
            Task::End(room) => {
                self.interests.ended(&self.fleet, &room);
                self.told.push_back(Heard::Ended(room));
            }
        }
    }

    fn hears_of_all(&mut self) -> Heard {
        match &mut self.news {
            Some((since, said)) if !*said && since.elapsed() >= NOTICED => {
                *said = true;
                Heard::OfAll
            }
            _ => Heard::Nothing,
        }
    }
}

/// Whether this confirms a subscription to that channel.
fn is_confirmation(answer: Value, channel: &str) -> RedisResult<bool> {
    let Value::Array(parts) = answer.extract_error()? else { return Ok(false) };
    let is_kind = |kind: &Value| matches!(kind, Value::BulkString(kind) if kind.ends_with(b"subscribe"));
    let is_channel = |part: &Value| matches!(part, Value::BulkString(part) if part == channel.as_bytes());
    Ok(parts.first().is_some_and(is_kind) && parts.get(1).is_some_and(is_channel))
}

/// Only new lines help: to the servers that the next fleet has.
fn moved_away() -> RedisError {
    (ErrorKind::Client, "the cluster has other servers than before, or other slots").into()
}

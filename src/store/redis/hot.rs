//! The newest part of each room, where an archive has the rest: reads what is not archived, and removes what is.

use super::{
    became,
    bounds::{self, Bounds},
    call::Call,
    failure::{Failure, failed},
    id::{EntryId, Tail},
    keys::Keys,
    log::{RedisLog, STORE, unmoved},
    outbox::room_of_head,
    read::{self, Since},
    script, server,
    values::{bytes, list, number, stream_entry},
    wire,
};
use crate::{
    entry::{Change, ChangeKind, Entry},
    message::{Message, MessageId, RoomName},
    store::{
        archived::{Became, ChangeRow, Portion, Position, Row, States},
        error::StoreError,
    },
};
use redis::{Value, cmd};

/// Rooms whose heads are read in one round trip.
const HEADS: usize = 500;

/// How long a message that was put at hand stays there, in milliseconds: until its change has come.
const AT_HAND: u64 = 60_000;

/// The node that archives, while it renews its lease; and since when there is an archive.
const LEADER: &str = "propromo:{archive}:leader";
const SINCE: &str = "propromo:{archive}:since";

/// How far a room has got.
#[derive(Clone, Debug)]
pub(in crate::store) struct Head {
    pub room: RoomName,
    pub last: MessageId,
    /// The room is archived up to here, as far as Redis knows.
    pub archived: MessageId,
    /// The room was deleted up to here.
    pub forgotten: MessageId,
}

impl Head {
    /// Whether the room has had an entry after this one.
    pub fn is_after(&self, id: MessageId) -> bool {
        EntryId::of(self.last) > EntryId::of(id)
    }
}

/// The part of a room that is not archived yet.
pub(in crate::store) struct Unarchived {
    pub portion: Portion,
    /// Whether more of it is left.
    pub more: bool,
    /// Size of what was read, in bytes.
    pub texts: usize,
}

impl RedisLog {
    pub(in crate::store) fn newest_bounded(
        &self,
        room: &RoomName,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<(Vec<Message>, Bounds), StoreError> {
        unmoved(|| read::newest_bounded(&self.redis, room, before, limit, true)).map_err(failed(STORE, "read history"))
    }

    pub(in crate::store) fn since_bounded(
        &self,
        room: &RoomName,
        after: MessageId,
        limit: usize,
    ) -> Result<Since, StoreError> {
        unmoved(|| read::since_bounded(&self.redis, room, after, limit, true))
            .map_err(failed(STORE, "read what a client has missed"))
    }

    pub(in crate::store) fn share_after(
        &self,
        room: &RoomName,
        after: MessageId,
        limit: usize,
    ) -> Result<(Vec<Entry>, Bounds), StoreError> {
        unmoved(|| read::share_after(&self.redis, room, after, limit)).map_err(failed(STORE, "read a room"))
    }

    pub(in crate::store) fn share_newer(
        &self,
        room: &RoomName,
        after: MessageId,
        limit: usize,
    ) -> Result<(Vec<Message>, Option<MessageId>, Bounds), StoreError> {
        unmoved(|| read::share_newer(&self.redis, room, after, limit)).map_err(failed(STORE, "read history"))
    }

    /// The message with this id, if it is here, and where the archive begins.
    pub(in crate::store) fn one_bounded(
        &self,
        room: &RoomName,
        id: MessageId,
    ) -> Result<(Option<Message>, Bounds), StoreError> {
        unmoved(|| read::one(&self.redis, room, id, true)).map_err(failed(STORE, "read a message"))
    }

    /// The state of these messages, as far as Redis knows.
    pub(in crate::store) fn states(&self, room: &RoomName, ids: &[MessageId]) -> Result<States, StoreError> {
        let call = became_call(room, ids.iter().map(|id| EntryId::of(*id)));
        let states = self.redis.read_one(call).and_then(|answer| read_states(&answer));
        states.map_err(failed(STORE, "tell what messages have become"))
    }

    /// Makes sure that a change of this message finds it. `None`: done. Otherwise the caller reads the message from the
    /// archive, and passes it as `given`, together with this number.
    pub(in crate::store) fn put_at_hand(
        &self,
        room: &RoomName,
        id: MessageId,
        given: Option<(u64, &Row)>,
    ) -> Result<Option<u64>, StoreError> {
        let keys = Keys(room);
        let all = [keys.log(), keys.head(), keys.became(), keys.changed(), keys.at_hand()];
        let call = Call::script(&script::AT_HAND, &all.each_ref().map(String::as_str), |command| {
            command.arg(EntryId::of(id).to_string());
            let Some((trims, row)) = given else {
                command.arg(&["", "", "", ""]);
                return;
            };
            let body = [&Tail::at_the_end_of(row.id).to_bytes(), &row.body[..]].concat();
            command.arg(trims).arg(body);
            command.arg(row.edit.as_deref().unwrap_or_default()).arg(row.reactions.as_deref().unwrap_or_default());
        });
        let asked = match self.redis.read_one(call) {
            Ok(Value::Int(_)) => Ok(None),
            Ok(Value::BulkString(trims)) => number(&trims).map(Some).ok_or(Failure::Unreadable),
            Ok(_) => Err(Failure::Unreadable),
            Err(failure) => Err(failure),
        };
        asked.map_err(failed(STORE, "look for a message"))
    }

    /// How far these rooms have got.
    pub(in crate::store) fn heads(&self, rooms: &[RoomName]) -> Result<Vec<Head>, StoreError> {
        let mut heads = Vec::with_capacity(rooms.len());
        for rooms in rooms.chunks(HEADS) {
            heads.extend(self.read_heads(rooms).map_err(failed(STORE, "say how far rooms are"))?);
        }
        Ok(heads)
    }

    fn read_heads(&self, rooms: &[RoomName]) -> Result<Vec<Head>, Failure> {
        let ask = |room| {
            let head = Keys(room).head();
            Call::command(&head, cmd("HMGET").arg(&head).arg(&["last", "archived", "forgotten"]))
        };
        let answers = self.redis.read(&rooms.iter().map(ask).collect::<Vec<_>>())?;
        let head = |(room, answer): (&RoomName, Result<Value, Failure>)| {
            let answer = answer?;
            let fields = list(&answer)?;
            let id = |place: usize| {
                let entry = fields.get(place).and_then(bytes).and_then(EntryId::parse);
                entry.map_or(MessageId::BEFORE_ALL, |entry| Tail::GREATEST.message_id(entry))
            };
            Ok(Head { room: room.clone(), last: id(0), archived: id(1), forgotten: id(2) })
        };
        rooms.iter().zip(answers).map(head).collect()
    }

    /// Passes all rooms that Redis knows to `take`, in parts. A room may come twice.
    pub(in crate::store) fn each_room(
        &self,
        take: &mut dyn FnMut(Vec<RoomName>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "list the rooms";
        let fleet = self.redis.fleet().map_err(failed(STORE, WHAT))?;
        for master in &fleet.masters {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg("propromo:{*}:head").arg("COUNT").arg(HEADS);
                let found = || -> Result<(String, Vec<Vec<u8>>), Failure> {
                    let found = master.wire(server::ANSWER)?.ask(&scan.get_packed_command())?;
                    redis::from_redis_value(found).map_err(|_| Failure::Unreadable)
                };
                let (next, keys) = found().map_err(failed(STORE, WHAT))?;
                // A text column can't hold NUL.
                let is_text = |room: &RoomName| !room.as_str().contains('\0');
                take(keys.iter().filter_map(|key| room_of_head(key)).filter(is_text).collect())?;
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    /// Reads what follows these positions of rooms, up to `limit` entries each.
    pub(in crate::store) fn unarchived(
        &self,
        rooms: &[(Head, Position)],
        limit: usize,
    ) -> Result<Vec<Unarchived>, StoreError> {
        self.read_unarchived(rooms, limit).map_err(failed(STORE, "read what is to be archived"))
    }

    fn read_unarchived(&self, rooms: &[(Head, Position)], limit: usize) -> Result<Vec<Unarchived>, Failure> {
        let calls: Vec<Call> =
            rooms.iter().map(|(head, position)| read_call(&head.room, position.upto, limit)).collect();
        let mut read = Vec::with_capacity(rooms.len());
        for ((head, position), answer) in rooms.iter().zip(self.redis.read(&calls)?) {
            read.push(portion(head, *position, &answer?, limit)?);
        }
        // This is read after the changes, so it is at least as new as they are.
        let asked: Vec<Call> = rooms
            .iter()
            .zip(&read)
            .map(|((head, _), (unarchived, _))| {
                became_call(&head.room, unarchived.portion.changes.iter().map(|change| EntryId::of(change.of)))
            })
            .collect();
        let mut all = Vec::with_capacity(rooms.len());
        for (((head, _), (mut unarchived, missing)), answer) in rooms.iter().zip(read).zip(self.redis.read(&asked)?) {
            let portion = &mut unarchived.portion;
            portion.became = read_states(&answer?)?.of;
            for (change, (_, became)) in portion.changes.iter().zip(&mut portion.became) {
                // A node of an earlier version stores nothing once the last reaction is gone.
                if wire::is_reaction(&change.change) && became.reactions.is_none() {
                    became.reactions = Some(b"[]".to_vec());
                }
            }
            if missing {
                self.add_all_states(&head.room, portion)?;
            }
            all.push(unarchived);
        }
        Ok(all)
    }

    /// Changes are missing: adds the state of all messages instead.
    fn add_all_states(&self, room: &RoomName, portion: &mut Portion) -> Result<(), Failure> {
        const SOME: usize = 500;
        let mut known = 0;
        loop {
            let keys = Keys(room);
            let call = Call::script(&script::BECAME, &[&keys.head(), &keys.became(), &keys.changed()], |command| {
                command.arg("all").arg(known).arg(SOME);
            });
            let some = read_states(&self.redis.read_one(call)?)?.of;
            known += some.len();
            let is_last = some.len() < SOME;
            portion.became.extend(some);
            if is_last {
                return Ok(());
            }
        }
    }

    /// Notes up to where a room is archived, and removes archived entries beyond the newest `hot`.
    pub(in crate::store) fn archived(&self, room: &RoomName, upto: MessageId, hot: u64) -> Result<(), StoreError> {
        let all = Keys(room).of_log();
        loop {
            let call = Call::script(&script::ARCHIVED, &all.each_ref().map(String::as_str), |command| {
                command.arg(EntryId::of(upto).to_string()).arg(hot).arg(AT_HAND);
            });
            if self.redis.read_one(call).map_err(failed(STORE, "let go of what is archived"))? != Value::Int(1) {
                return Ok(());
            }
        }
    }

    /// Lets rooms go on after what is archived of them. Returns for each room whether it had lost something.
    pub(in crate::store) fn resume(&self, rooms: &[(RoomName, MessageId)]) -> Result<Vec<bool>, StoreError> {
        let calls: Vec<Call> = rooms
            .iter()
            .map(|(room, upto)| {
                let all = Keys(room).of_log();
                Call::script(&script::RESUME, &all.each_ref().map(String::as_str), |command| {
                    command.arg(EntryId::of(*upto).to_string());
                })
            })
            .collect();
        let answers = self.redis.read(&calls).and_then(|answers| {
            answers.into_iter().map(|answer| answer.map(|lost| lost == Value::Int(1))).collect::<Result<Vec<_>, _>>()
        });
        answers.map_err(failed(STORE, "let rooms go on"))
    }

    /// Asks to be the node that archives for the next `millis` milliseconds, and returns whether it is. 0 gives the
    /// lease back.
    pub(in crate::store) fn leads_archiving(&self, millis: u128) -> Result<bool, StoreError> {
        let lease = Call::script(&script::LEASE, &[LEADER, SINCE], |command| {
            command.arg(&self.redis.node).arg(millis.to_string());
        });
        let leads = match self.redis.read_one(lease) {
            Ok(Value::Array(answer)) => Ok(answer.first() == Some(&Value::Int(1))),
            Ok(_) => Err(Failure::Unreadable),
            Err(failure) => Err(failure),
        };
        leads.map_err(failed(STORE, "say who archives"))
    }

    /// How often this node noticed that Redis had lost data.
    pub(in crate::store) fn losses(&self) -> u64 {
        self.redis.health.losses()
    }
}

fn read_call(room: &RoomName, after: MessageId, limit: usize) -> Call {
    let from = match after {
        MessageId::BEFORE_ALL => "-".to_owned(),
        after => format!("({}", EntryId::of(after)),
    };
    read::call(room, [&from, "+"], limit, |command| {
        command.arg("on").arg("1").arg("").arg("1");
    })
}

fn became_call(room: &RoomName, entries: impl Iterator<Item = EntryId>) -> Call {
    let keys = Keys(room);
    Call::script(&script::BECAME, &[&keys.head(), &keys.became(), &keys.changed()], |command| {
        command.arg("of");
        for entry in entries {
            command.arg(entry.to_string());
        }
    })
}

/// Reads a part of a room, and whether changes before it are missing.
fn portion(head: &Head, from: Position, answer: &Value, limit: usize) -> Result<(Unarchived, bool), Failure> {
    let parts = list(answer)?;
    let (Some([messages, became, changes, _]), rest) = (parts.first_chunk(), parts.get(4..).unwrap_or_default()) else {
        return Err(Failure::Unreadable);
    };
    let (own, became) = (Tail::of(&head.room), list(became)?);
    let (read_messages, read_changes) = (list(messages)?, list(changes)?);
    // If one of the two streams has more to read, the other must not be ahead of it.
    let end = |all: &[Value]| match all.last() {
        Some(last) if all.len() >= limit => stream_entry(last).map(|(entry, ..)| entry),
        _ => None,
    };
    let end = [end(read_messages), end(read_changes)].into_iter().flatten().min();
    let is_taken = |entry: EntryId| end.is_none_or(|end| entry <= end);
    let mut texts = 0;
    let messages: Vec<Row> = read_messages
        .iter()
        .enumerate()
        .filter_map(|(place, value)| {
            let (entry, name, mut body) = stream_entry(value).filter(|(entry, ..)| is_taken(*entry))?;
            let tail = if name == wire::FOREIGN { wire::read_tail(&mut body)? } else { own };
            let state = became.get(place).and_then(|became| list(became).ok()).unwrap_or_default();
            let state = |place: usize| state.get(place).and_then(bytes).map(<[u8]>::to_vec);
            texts += body.len();
            let (edit, reactions) = (state(0), state(1));
            // The text before the edit is not needed.
            let body = if edit.is_some() { wire::without_text(body)? } else { body };
            Some(Row { id: tail.message_id(entry), body: body.to_vec(), edit, reactions })
        })
        .collect();
    let changes: Vec<ChangeRow> = read_changes
        .iter()
        .filter_map(|value| {
            let (entry, name, mut change) = stream_entry(value).filter(|(entry, ..)| is_taken(*entry))?;
            let tail = if name == wire::FOREIGN { wire::read_tail(&mut change)? } else { own };
            let id = tail.message_id(entry);
            let of = wire::read_change(id, change)?.of;
            Some(ChangeRow { id, of, change: change.to_vec(), edit: None })
        })
        .collect();
    let bounds = |place: usize| rest.get(place).and_then(bytes).and_then(EntryId::parse);
    // The last entries that were removed: changes, messages, and what was trimmed because it was archived.
    let gone =
        |entry: Option<EntryId>| entry.map(|entry| Tail::GREATEST.message_id(entry)).filter(|gone| *gone > from.upto);
    let changes_gone = gone(bounds(0));
    let others_gone = [bounds(1), bounds(3)].map(|first_kept| gone(first_kept.map(EntryId::before)));
    let gap = others_gone.into_iter().chain([changes_gone]).flatten().fold(from.gap, MessageId::max);
    let upto = match end {
        Some(end) => Tail::GREATEST.message_id(end),
        None => {
            let last = messages.last().map(|row| row.id).max(changes.last().map(|change| change.id));
            head.last.max(last.map_or(MessageId::BEFORE_ALL, |last| Tail::GREATEST.message_id(EntryId::of(last))))
        }
    };
    let portion = Portion { from, upto: upto.max(from.upto), gap, messages, changes, became: Vec::new() };
    Ok((Unarchived { portion, more: end.is_some(), texts }, changes_gone.is_some()))
}

/// Reads the answer of `became.lua`.
fn read_states(answer: &Value) -> Result<States, Failure> {
    let Some([trims, forgotten, entries, became]) = list(answer)?.first_chunk() else {
        return Err(Failure::Unreadable);
    };
    let forgotten = bytes(forgotten).and_then(EntryId::parse);
    Ok(States {
        trims: bytes(trims).and_then(number).unwrap_or(0),
        forgotten: forgotten.map_or(MessageId::BEFORE_ALL, |entry| Tail::GREATEST.message_id(entry)),
        of: bounds::read_states(entries, became)?,
    })
}

impl Row {
    /// The message of this row, with the state that Redis has for it.
    pub(in crate::store) fn message(&self, room: &RoomName, became: &Became) -> Option<Message> {
        if became.is_deleted {
            return None;
        }
        let (own, mut message) = (Tail::of(room), wire::read_body(self.id, &self.body)?);
        read::become_so(&mut message, own, self.edit.as_deref(), self.reactions.as_deref());
        read::become_so(&mut message, own, became.edit.as_deref(), became.reactions.as_deref());
        Some(message)
    }

    /// The message's present text.
    pub(in crate::store) fn text(&self) -> Option<String> {
        match &self.edit {
            Some(edit) => became::read_edit(edit).map(|(_, text)| text.to_owned()),
            None => wire::read_body(self.id, &self.body).map(|message| message.text.into()),
        }
    }
}

impl Became {
    /// The present text, if the message was edited.
    pub(in crate::store) fn text(&self) -> Option<&str> {
        became::read_edit(self.edit.as_deref()?).map(|(_, text)| text)
    }
}

impl ChangeRow {
    /// The change of this row; `became` is the state of its message.
    pub(in crate::store) fn change(&self, became: &Became) -> Option<Change> {
        let mut change = wire::read_change(self.id, &self.change)?;
        if let ChangeKind::Edited(text) = &mut change.kind {
            let stored = self.edit.as_deref().and_then(became::read_edit);
            let newer = became.edit.as_deref().and_then(became::read_edit);
            let latest = stored.into_iter().chain(newer).max_by_key(|(entry, _)| *entry);
            *text = latest.filter(|_| !became.is_deleted).map(|(_, text)| text.into());
        }
        Some(change)
    }
}

//! The names in each room: a name belongs to one member at a time over all nodes, regardless of case and of look-alike
//! spellings.
//!
//! A name is taken on this node first, then among the other nodes, if there are any. There a claim stands as long as
//! its node has a lease. If a node could not renew its lease for a while, its members claim their names again before
//! they say anything.
//!
//! Lock order: a holder's `parting`, the table of rooms, then one room's names. No lock is held over I/O except a
//! holder's `parting` and a room's `open` (for reading), while an event is on its way to the log.

pub mod holder;
mod keeper;

use super::weak_table::WeakTable;
use crate::{
    socket::close::Close,
    store::{
        error::StoreError,
        names::{Named, SharedNames},
    },
};
use holder::{Holder, key};
use jiff::Timestamp;
use keeper::{Keeper, Running};
use parking_lot::{Mutex, RwLock};
use serde::{Serialize, Serializer};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    sync::{Arc, atomic::Ordering},
};

/// The close frame for members of a room that was shut.
const SHUT: Close = Close::policy("room_changed");

/// The names in use, room by room.
#[derive(Default)]
pub struct Names {
    /// Weak, so that an empty room leaves nothing behind.
    rooms: Mutex<WeakTable<i64, RoomNames>>,
    /// `None`: there are no other nodes.
    others: Option<Running>,
}

impl Names {
    /// `shared`: the store of all nodes' names; `None`: there is one node.
    pub fn start(shared: Option<Arc<dyn SharedNames>>) -> io::Result<Names> {
        Ok(Names { rooms: Mutex::default(), others: shared.map(Keeper::start).transpose()? })
    }

    /// The names of a room, for a member that enters.
    pub fn of(&self, room: i64) -> Arc<RoomNames> {
        let mut rooms = self.rooms.lock();
        if let Some(names) = rooms.get(&room) {
            return names;
        }
        let others = self.others.as_ref().map(|running| running.0.clone());
        let names = Arc::new(RoomNames { room, holders: Mutex::default(), open: RwLock::new(true), others });
        rooms.insert(room, &names);
        names
    }

    /// The users of each of these rooms, on all nodes, by name. If the other nodes can't be asked, the users on this
    /// one.
    pub fn users(&self, rooms: &[i64]) -> Vec<Vec<User>> {
        let everywhere = self.others.as_ref().and_then(|running| running.0.store().users(rooms).ok());
        match everywhere {
            Some(everybody) => everybody.into_iter().map(|room| room.into_iter().map(User::from).collect()).collect(),
            None => rooms.iter().map(|room| self.users_here(*room)).collect(),
        }
    }

    fn users_here(&self, room: i64) -> Vec<User> {
        let names = self.rooms.lock().get(&room);
        let Some(names) = names else { return Vec::new() };
        let mut users: Vec<User> = names.holders.lock().values().map(|holder| holder.named().into()).collect();
        users.sort_unstable_by(|a, b| a.username.cmp(&b.username));
        users
    }

    /// Shuts a room for all that entered it so far: from now on they can't say anything there.
    ///
    /// When this returns, everything that they did say is in the log's queue.
    pub fn shut(&self, room: i64) {
        let names = self.rooms.lock().remove(&room);
        if let Some(names) = names {
            *names.open.write() = false;
        }
    }
}

/// The names in use in one room.
pub struct RoomNames {
    room: i64,
    /// Bounded by the room's connections: each holds one name at most.
    holders: Mutex<BTreeMap<Arc<str>, Arc<Holder>>>,
    open: RwLock<bool>,
    others: Option<Arc<Keeper>>,
}

impl RoomNames {
    /// Takes a name; `None` if it is taken. Waits for a name that is being given up. Fails if the other nodes can't be
    /// asked.
    pub fn take(self: &Arc<Self>, name: &str, color: &str) -> Result<Option<Holding>, StoreError> {
        let holder = Arc::new(Holder::new(name, color));
        while let Some(other) = self.put(&holder) {
            drop(other.parting.lock());
            if self.holders.lock().get(&holder.key).is_some_and(|now| Arc::ptr_eq(now, &other)) {
                return Ok(None);
            }
        }
        let claimed = match &self.others {
            Some(others) => others.claim(self.room, &holder),
            None => Ok(true),
        };
        if !matches!(claimed, Ok(true)) {
            self.holders.lock().remove(&holder.key);
        }
        Ok(claimed?.then(|| Holding { names: self.clone(), holder }))
    }

    /// Adds a holder, unless another has the name.
    fn put(&self, holder: &Arc<Holder>) -> Option<Arc<Holder>> {
        match self.holders.lock().entry(holder.key.clone()) {
            Entry::Occupied(other) => Some(other.get().clone()),
            Entry::Vacant(place) => {
                place.insert(holder.clone());
                None
            }
        }
    }

    /// Whether the name is taken.
    pub fn is_held(&self, name: &str) -> bool {
        let key = key(name);
        self.holders.lock().contains_key(&*key)
            || self.others.as_ref().is_some_and(|others| {
                let users = others.store().users(&[self.room]).unwrap_or_default();
                users.iter().flatten().any(|named| self::key(&named.name) == key)
            })
    }

    /// Runs `say`, unless the room was shut: then returns how to close the member.
    pub fn while_open(&self, say: impl FnOnce()) -> Result<(), Close> {
        let open = self.open.read();
        if !*open {
            return Err(SHUT);
        }
        say();
        Ok(())
    }
}

/// A name that is held; dropping it gives the name back.
pub struct Holding {
    names: Arc<RoomNames>,
    holder: Arc<Holder>,
}

impl Holding {
    /// The name, as it was taken.
    pub fn name(&self) -> &Arc<str> {
        &self.holder.name
    }

    pub fn color(&self) -> Arc<str> {
        self.holder.color.lock().clone()
    }

    /// Gives the name back after `say` has announced it. A client that hears the announcement on this node may take the
    /// name at once; on other nodes it is free a moment later.
    pub fn part<T>(self, say: impl FnOnce(&Holding) -> T) -> T {
        let _parting = self.holder.parting.lock();
        let said = say(&self);
        self.let_go();
        said
    }

    /// On this node only.
    fn let_go(&self) {
        let mut holders = self.names.holders.lock();
        if holders.get(&self.holder.key).is_some_and(|holder| Arc::ptr_eq(holder, &self.holder)) {
            holders.remove(&self.holder.key);
        }
    }

    pub fn is(&self, name: &str) -> bool {
        *name == *self.holder.name || *key(name) == *self.holder.key
    }

    /// Whether the name is still this member's. A member on another node may have taken it while this node could not
    /// renew it. Fails if that can't be found out.
    pub fn holds(&self) -> Result<bool, StoreError> {
        match &self.names.others {
            None => Ok(true),
            Some(_) if self.holder.is_lost() => Ok(false),
            Some(others) if others.is_sure(&self.holder) => Ok(true),
            Some(others) => {
                let holds = others.claim(self.names.room, &self.holder)?;
                if !holds {
                    self.holder.lose();
                }
                Ok(holds)
            }
        }
    }

    /// Notes that its holder has just said something, perhaps in another color.
    pub fn active(&self, color: Option<&str>) {
        self.holder.last_activity.store(Timestamp::now().as_millisecond(), Ordering::Relaxed);
        if let Some(color) = color {
            let mut current = self.holder.color.lock();
            if **current != *color {
                *current = color.into();
            }
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.let_go();
        if let Some(others) = &self.names.others {
            others.give_back(self.names.room, &self.holder);
        }
    }
}

/// A user in a room, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    #[serde(serialize_with = "text")]
    pub username: Arc<str>,
    #[serde(serialize_with = "text")]
    pub color: Arc<str>,
    #[serde(serialize_with = "time")]
    pub last_activity: Timestamp,
}

impl From<Named> for User {
    fn from(Named { name, color, last_activity }: Named) -> User {
        let last_activity = Timestamp::from_millisecond(last_activity).unwrap_or(Timestamp::UNIX_EPOCH);
        User { username: name, color, last_activity }
    }
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn taken(room: &Arc<RoomNames>, name: &str) -> Option<Holding> {
        room.take(name, "red").unwrap()
    }

    fn users(names: &Names) -> Vec<User> {
        names.users(&[1]).remove(0)
    }

    fn names_of(users: &[User]) -> Vec<&str> {
        users.iter().map(|user| &*user.username).collect()
    }

    #[test]
    fn a_name_is_one_members_whatever_its_case() {
        let names = Names::default();
        let room = names.of(1);
        let ann = taken(&room, "Ann").unwrap();
        // The last ones: in Greek and Cyrillic, with a zero width space.
        for same in ["Ann", "ann", "ANN", " ann ", "\u{391}nn", "\u{430}nn", "A\u{200b}nn"] {
            assert!(taken(&room, same).is_none(), "{same}");
            assert!(room.is_held(same) && ann.is(same), "{same}");
        }
        assert!(taken(&names.of(2), "Ann").is_some(), "in another room");
    }

    #[test]
    fn a_name_that_is_given_back_is_free_again() {
        let names = Names::default();
        let room = names.of(1);
        drop(taken(&room, "Ann"));
        assert!(taken(&room, "ann").is_some());
    }

    #[test]
    fn a_name_that_is_being_given_up_is_waited_for() {
        let names = Names::default();
        let room = names.of(1);
        let ann = taken(&room, "Ann").unwrap();
        thread::scope(|scope| {
            let heir = ann.part(|ann| {
                let known = Arc::strong_count(&ann.holder);
                let heir = scope.spawn(|| taken(&room, "ann"));
                // Until it knows who has the name.
                while Arc::strong_count(&ann.holder) == known && !heir.is_finished() {
                    thread::yield_now();
                }
                heir
            });
            assert!(heir.join().unwrap().is_some());
        });
    }

    #[test]
    fn of_many_that_take_a_name_at_once_one_gets_it() {
        let names = Names::default();
        let room = names.of(1);
        let taken = thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(|| taken(&room, "Ann"))).collect();
            all.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(taken.len(), 1);
    }

    #[test]
    fn users_are_those_who_hold_a_name() {
        let names = Names::default();
        let room = names.of(1);
        let (ann, bob) = (taken(&room, "Ann"), taken(&room, "Bob"));
        assert_eq!(names_of(&users(&names)), ["Ann", "Bob"]);
        drop(ann);
        assert_eq!(names_of(&users(&names)), ["Bob"]);
        drop((bob, room));
        assert_eq!(users(&names), []);
    }

    #[test]
    fn activity_is_noted_with_its_color() {
        let names = Names::default();
        let room = names.of(1);
        let ann = taken(&room, "Ann").unwrap();
        ann.holder.last_activity.store(0, Ordering::Relaxed);
        ann.active(None);
        assert_eq!(&*ann.color(), "red");
        ann.active(Some("blue"));
        let users = users(&names);
        assert_eq!(&*users[0].color, "blue");
        assert_ne!(users[0].last_activity, Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn in_a_room_that_was_shut_nothing_is_said_and_its_successor_is_open() {
        let names = Names::default();
        let before = names.of(1);
        let _ann = taken(&before, "Ann");
        names.shut(1);
        assert_eq!(before.while_open(|| panic!("said")), Err(SHUT));
        let after = names.of(1);
        assert!(taken(&after, "Ann").is_some());
        assert_eq!(after.while_open(|| {}), Ok(()));
    }

    #[test]
    fn rooms_that_nobody_is_in_are_swept_out() {
        let names = Names::default();
        for room in 0..1_000 {
            let _ = names.of(room);
        }
        assert!(names.rooms.lock().len() <= 65);
    }
}

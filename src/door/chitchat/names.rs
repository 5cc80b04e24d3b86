//! Who is called what in each room: a name is one member's at a time, whatever its case.
//!
//! Lock order: the table of rooms, then one room's names. No lock is held over I/O but a room's
//! `open`, for reading, while an event waits for the log's queue.

use crate::socket::close::Close;
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use serde::{Serialize, Serializer};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Weak,
        atomic::{AtomicI64, Ordering},
    },
};

/// What the members of a room that was shut are closed with.
const SHUT: Close = Close::policy("room_changed");

/// The names in use, room by room.
#[derive(Default)]
pub struct Names {
    rooms: Mutex<Table>,
}

/// Weak, so that a room nobody is in leaves nothing behind.
#[derive(Default)]
struct Table {
    rooms: HashMap<i64, Weak<RoomNames>>,
    /// Entries when rooms that are gone were last swept out.
    swept: usize,
}

impl Names {
    /// The names of a room, for one that comes in.
    pub fn of(&self, room: i64) -> Arc<RoomNames> {
        let mut table = self.rooms.lock();
        if let Some(names) = table.rooms.get(&room).and_then(Weak::upgrade) {
            return names;
        }
        if table.rooms.len() > 2 * table.swept + 64 {
            table.rooms.retain(|_, names| names.strong_count() > 0);
            table.swept = table.rooms.len();
        }
        let names = Arc::new(RoomNames { holders: Mutex::default(), open: RwLock::new(true) });
        table.rooms.insert(room, Arc::downgrade(&names));
        names
    }

    /// Who is in a room, by name.
    pub fn users(&self, room: i64) -> Vec<User> {
        let names = self.rooms.lock().rooms.get(&room).and_then(Weak::upgrade);
        names.map_or_else(Vec::new, |names| names.holders.lock().values().map(|holder| holder.user()).collect())
    }

    /// Ends a room for all that came into it so far: from now on they say nothing there.
    ///
    /// When this returns, whatever they did say is in the log's queue.
    pub fn shut(&self, room: i64) {
        let names = self.rooms.lock().rooms.remove(&room).and_then(|names| names.upgrade());
        if let Some(names) = names {
            *names.open.write() = false;
        }
    }
}

/// The names in use in one room.
pub struct RoomNames {
    /// Bounded by the room's connections: each holds one name at most.
    holders: Mutex<BTreeMap<String, Arc<Holder>>>,
    open: RwLock<bool>,
}

struct Holder {
    name: Arc<str>,
    color: Mutex<Arc<str>>,
    /// Unix milliseconds.
    last_activity: AtomicI64,
}

impl RoomNames {
    /// Takes a name, unless somebody has it.
    pub fn take(self: &Arc<Self>, name: &str, color: &str) -> Option<Holding> {
        let key = key(name);
        let mut holders = self.holders.lock();
        if holders.contains_key(&key) {
            return None;
        }
        let now = AtomicI64::new(Timestamp::now().as_millisecond());
        let holder = Arc::new(Holder { name: name.into(), color: Mutex::new(color.into()), last_activity: now });
        holders.insert(key.clone(), holder.clone());
        Some(Holding { names: self.clone(), key, holder })
    }

    /// Whether somebody has this name.
    pub fn is_held(&self, name: &str) -> bool {
        self.holders.lock().contains_key(&key(name))
    }

    /// Runs `say`, unless the room was shut; then whoever wanted to say it is to be closed.
    pub fn while_open(&self, say: impl FnOnce()) -> Result<(), Close> {
        let open = self.open.read();
        if !*open {
            return Err(SHUT);
        }
        say();
        Ok(())
    }
}

/// What names are compared by. Neither case nor white space around makes another person.
fn key(name: &str) -> String {
    name.trim().to_lowercase()
}

/// A name that is held; dropping it gives the name back.
pub struct Holding {
    names: Arc<RoomNames>,
    key: String,
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

    pub fn is(&self, name: &str) -> bool {
        *name == *self.holder.name || key(name) == self.key
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
        self.names.holders.lock().remove(&self.key);
    }
}

/// One who is in a room, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    #[serde(serialize_with = "text")]
    pub username: Arc<str>,
    #[serde(serialize_with = "text")]
    pub color: Arc<str>,
    #[serde(serialize_with = "time")]
    pub last_activity: Timestamp,
}

impl Holder {
    fn user(&self) -> User {
        let last_activity = Timestamp::from_millisecond(self.last_activity.load(Ordering::Relaxed));
        User {
            username: self.name.clone(),
            color: self.color.lock().clone(),
            last_activity: last_activity.unwrap_or(Timestamp::UNIX_EPOCH),
        }
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

    fn names_of(users: &[User]) -> Vec<&str> {
        users.iter().map(|user| &*user.username).collect()
    }

    #[test]
    fn a_name_is_one_members_whatever_its_case() {
        let names = Names::default();
        let room = names.of(1);
        let ann = room.take("Ann", "red").unwrap();
        for same in ["Ann", "ann", "ANN", " ann "] {
            assert!(room.take(same, "").is_none(), "{same}");
            assert!(room.is_held(same) && ann.is(same), "{same}");
        }
        assert!(names.of(2).take("Ann", "").is_some(), "in another room");
    }

    #[test]
    fn a_name_that_is_given_back_is_free_again() {
        let names = Names::default();
        let room = names.of(1);
        drop(room.take("Ann", ""));
        assert!(room.take("ann", "").is_some());
    }

    #[test]
    fn of_many_that_take_a_name_at_once_one_gets_it() {
        let names = Names::default();
        let room = names.of(1);
        let taken = thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(|| room.take("Ann", ""))).collect();
            all.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(taken.len(), 1);
    }

    #[test]
    fn users_are_those_who_hold_a_name() {
        let names = Names::default();
        let room = names.of(1);
        let (ann, bob) = (room.take("Ann", "red"), room.take("Bob", ""));
        assert_eq!(names_of(&names.users(1)), ["Ann", "Bob"]);
        drop(ann);
        assert_eq!(names_of(&names.users(1)), ["Bob"]);
        drop((bob, room));
        assert_eq!(names.users(1), []);
    }

    #[test]
    fn activity_is_noted_with_its_color() {
        let names = Names::default();
        let room = names.of(1);
        let ann = room.take("Ann", "red").unwrap();
        ann.holder.last_activity.store(0, Ordering::Relaxed);
        ann.active(None);
        assert_eq!(&*ann.color(), "red");
        ann.active(Some("blue"));
        let users = names.users(1);
        assert_eq!(&*users[0].color, "blue");
        assert_ne!(users[0].last_activity, Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn in_a_room_that_was_shut_nothing_is_said_and_its_successor_is_open() {
        let names = Names::default();
        let before = names.of(1);
        let _ann = before.take("Ann", "");
        names.shut(1);
        assert_eq!(before.while_open(|| panic!("said")), Err(SHUT));
        let after = names.of(1);
        assert!(after.take("Ann", "").is_some());
        assert_eq!(after.while_open(|| {}), Ok(()));
    }

    #[test]
    fn rooms_that_nobody_is_in_are_swept_out() {
        let names = Names::default();
        for room in 0..1_000 {
            let _ = names.of(room);
        }
        assert!(names.rooms.lock().rooms.len() <= 65);
    }
}

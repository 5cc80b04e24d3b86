//! What the presence thread knows of a room: what this node has claimed there, and which users its members believe to
//! be there.

use super::member::Room;
use crate::{
    event::Person,
    message::RoomName,
    store::presence::{PresenceReport, Present},
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Changes announced at a time.
const CHANGES: usize = 1000;

/// The join of a user who was there when a room was first compared may still be heard for this long.
const STILL_COMING: Duration = Duration::from_secs(5);

/// The thread's knowledge of a room.
pub(super) struct Watched {
    pub room: Arc<Room>,
    /// What this node has claimed, in alphabetical order.
    pub told: Vec<Present>,
    /// Whether the last announcement failed: then it is unknown how much of it arrived.
    pub is_doubtful: bool,
    /// Whether `shown` includes the users who were there before.
    pub was_compared: bool,
    /// The users whom the members here believe to be here.
    pub shown: HashMap<Arc<str>, Shown>,
    /// Those among them who were missing at the last comparison, and since when.
    pub missing: HashMap<Arc<str>, Instant>,
}

pub(super) struct Shown {
    pub name: Option<Arc<str>>,
    /// When the comparison found the user, if members were not told.
    pub unheard: Option<Instant>,
}

impl Watched {
    pub fn new(room: Arc<Room>) -> Watched {
        Watched {
            room,
            told: Vec::new(),
            is_doubtful: false,
            was_compared: false,
            shown: HashMap::new(),
            missing: HashMap::new(),
        }
    }

    /// Whether this node claims that this user is here.
    pub fn claims(&self, user: &str) -> bool {
        self.told.binary_search_by(|other| (*other.person.user).cmp(user)).is_ok()
    }

    /// Notes a join, and returns whether it is news.
    pub fn comes(&mut self, person: &Person) -> bool {
        self.missing.remove(&person.user);
        let is_new = !self.shown.contains_key(&person.user);
        let heard = || Shown { name: None, unheard: None };
        let shown = self.shown.entry(person.user.clone()).or_insert_with(heard);
        shown.name.clone_from(&person.name);
        let unheard = shown.unheard.take();
        is_new || unheard.is_some_and(|since| since.elapsed() < STILL_COMING)
    }

    /// Notes a leave, and returns whether it is news.
    pub fn goes(&mut self, user: &str) -> bool {
        self.missing.remove(user);
        self.shown.remove(user).is_some()
    }
}

/// Splits changes into parts so small that no other caller has to wait long.
pub(super) fn told_in_parts(room: &RoomName, changes: Vec<Present>, again: bool) -> Vec<PresenceReport> {
    let part = |part: &[Present]| PresenceReport { changes: part.to_vec(), again, ..PresenceReport::of(room) };
    changes.chunks(CHANGES).map(part).collect()
}

/// The changes that turn `told` into `here`.
pub(super) fn differences(told: &[Present], here: &[Present]) -> Vec<Present> {
    let by_user = |users: &[Present], user: &str| users.binary_search_by(|other| (*other.person.user).cmp(user)).ok();
    let gone = told.iter().filter(|present| by_user(here, &present.person.user).is_none());
    let gone = gone.map(|present| Present { sockets: 0, ..present.clone() });
    let new = here.iter().filter(|present| by_user(told, &present.person.user).map(|at| &told[at]) != Some(*present));
    gone.chain(new.cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(user: &str, sockets: usize) -> Present {
        Present { person: Person::unnamed(user.into()), sockets }
    }

    fn watched() -> Watched {
        Watched::new(Arc::new(Room::new(RoomName::channel("r"), 1)))
    }

    #[test]
    fn what_differs_leads_from_what_was_told_to_what_is_here() {
        let told = [present("alice", 1), present("bob", 2), present("carol", 1)];
        let here = [present("bob", 1), present("carol", 1), present("dave", 1)];
        assert_eq!(differences(&told, &here), [present("alice", 0), present("bob", 1), present("dave", 1)]);
        assert!(differences(&here, &here).is_empty());
    }

    #[test]
    fn a_coming_and_a_going_are_news_once() {
        let mut watched = watched();
        let alice = Person::unnamed("alice".into());
        assert!(watched.comes(&alice) && !watched.comes(&alice));
        assert!(watched.goes("alice") && !watched.goes("alice"));
        assert!(watched.comes(&alice));
    }

    #[test]
    fn whoever_was_found_silently_may_yet_be_heard_to_come() {
        let mut watched = watched();
        let alice = Person::unnamed("alice".into());
        watched.shown.insert(alice.user.clone(), Shown { name: None, unheard: Some(Instant::now()) });
        assert!(watched.comes(&alice) && !watched.comes(&alice));
        let long_ago = Instant::now() - STILL_COMING;
        watched.shown.insert(alice.user.clone(), Shown { name: None, unheard: Some(long_ago) });
        assert!(!watched.comes(&alice));
    }
}

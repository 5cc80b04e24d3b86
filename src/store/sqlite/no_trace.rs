//! What was deleted is in no file: neither in rows, nor in copies that SQLite leaves where it moves rows.

use super::{Embedded, EmbeddedOptions, log::LogOptions};
use crate::{
    entry::NewChangeKind,
    message::{MessageId, RoomName},
    store::{
        log::MessageLog,
        search::Search,
        suite::{change, fresh_room, make, say},
    },
};
use proptest::{prelude::*, sample::Index};
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
};

const ALICE: &str = "alice@propromo.example";
const WORD: usize = 8;

/// A word that no other message has. Words that follow each other in the alphabet share few letters, since FTS5 stores
/// those only once.
fn word(number: u64) -> [u8; WORD] {
    let mut rest = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    std::array::from_fn(|_| {
        rest = rest.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + ((rest >> 33) % 26) as u8
    })
}

/// A text that is nothing but its word, so every piece of it that is left behind shows whose it is.
fn text(number: u64, words: usize) -> String {
    let word = String::from_utf8(word(number).to_vec()).unwrap();
    vec![word; words].join(" ")
}

/// The numbers of all texts of which any file has a word.
fn found_in_files(dir: &Path, numbers: u64) -> BTreeSet<u64> {
    let words: HashMap<[u8; WORD], u64> = (0..numbers).map(|number| (word(number), number)).collect();
    let (mut directories, mut found) = (vec![dir.to_owned()], BTreeSet::new());
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else {
                let bytes = fs::read(path).unwrap_or_default();
                // Most of a file that everything was deleted from is zeros.
                let pieces = bytes.windows(WORD).filter(|bytes| bytes[0] != 0 && bytes[WORD - 1] != 0);
                found.extend(pieces.filter_map(|bytes| words.get(bytes)));
            }
        }
    }
    found
}

#[derive(Clone, Debug)]
enum Step {
    /// So many messages of so many words.
    Say {
        room: Index,
        messages: usize,
        words: usize,
    },
    Edit {
        message: Index,
        words: usize,
    },
    Delete(Index),
    /// Every so-many-th message.
    DeleteMany(usize),
    DeleteOlder {
        room: Index,
        than: Index,
    },
    Forget(Index),
    /// The server ends and starts again, perhaps without having erased everything.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let words = prop_oneof![4 => 1usize..30, 1 => 30usize..300, 1 => 300usize..900];
    prop_oneof![
        12 => (any::<Index>(), 1usize..120, words.clone()).prop_map(|(room, messages, words)| Step::Say { room, messages, words }),
        6 => (any::<Index>(), words).prop_map(|(message, words)| Step::Edit { message, words }),
        6 => any::<Index>().prop_map(Step::Delete),
        3 => (2usize..9).prop_map(Step::DeleteMany),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(room, than)| Step::DeleteOlder { room, than }),
        1 => any::<Index>().prop_map(Step::Forget),
        1 => Just(Step::Restart),
    ]
}

/// A store, and every message that it was given: its room, and the numbers of all texts that it has had.
struct World {
    store: Embedded,
    said: Vec<(RoomName, MessageId, Vec<u64>)>,
    numbers: u64,
}

impl World {
    fn open(dir: &Path) -> Embedded {
        let log = LogOptions::keeping(Some(150));
        Embedded::open(EmbeddedOptions { data_dir: dir, accounts: None, log }).unwrap()
    }

    fn delete(&self, message: usize) {
        let (room, id, _) = &self.said[message];
        // It may be gone already.
        let _ = make(&*self.store.log, change(room, *id, ALICE, NewChangeKind::Delete));
    }

    fn take(&mut self, step: &Step, rooms: &[RoomName]) {
        match step {
            Step::Say { room, messages, words } => {
                // By turns, so that what one room loses stands between what others keep.
                let first = room.index(rooms.len());
                for room in rooms.iter().cycle().skip(first).take(*messages) {
                    let id = say(&*self.store.log, room, &[&text(self.numbers, *words)])[0];
                    self.said.push((room.clone(), id, vec![self.numbers]));
                    self.numbers += 1;
                }
                self.store.log.settle().unwrap();
            }
            _ if self.said.is_empty() => {}
            Step::Edit { message, words } => {
                let place = message.index(self.said.len());
                let (room, id, texts) = &mut self.said[place];
                let kind = NewChangeKind::Edit { text: text(self.numbers, *words).into(), since: 0 };
                // It may have been deleted, or trimmed.
                let _ = make(&*self.store.log, change(room, *id, ALICE, kind));
                texts.push(self.numbers);
                self.numbers += 1;
            }
            Step::Delete(message) => self.delete(message.index(self.said.len())),
            Step::DeleteMany(each) => (0..self.said.len()).step_by(*each).for_each(|message| self.delete(message)),
            Step::DeleteOlder { room, than } => {
                let (_, id, _) = than.get(&self.said);
                let millis = (id.0.as_u128() >> 80) as u64;
                self.store.log.forget_before(room.get(rooms), millis).unwrap();
            }
            Step::Forget(room) => self.store.log.forget(room.get(rooms)).unwrap(),
            Step::Restart => {}
        }
    }

    /// The numbers of texts that the store still shows.
    fn shown(&self) -> BTreeSet<u64> {
        let now = |(room, id, texts): &(RoomName, MessageId, Vec<u64>)| {
            let message = self.store.log.message(room, *id).unwrap()?;
            texts.iter().copied().find(|number| message.text.as_bytes().starts_with(&word(*number)))
        };
        self.said.iter().filter_map(now).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 8, ..ProptestConfig::default() })]
    // Seen to fail where the slack of pages is not overwritten, in the second run of four cases: 3 of 422 texts are left.
    #[test]
    fn whatever_was_trimmed_edited_and_deleted_in_whatever_order_is_in_no_file(
        steps in prop::collection::vec(step(), 20..40),
        erases_all in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let rooms: Vec<RoomName> = (0..3).map(|_| fresh_room()).collect();
        let mut world = World { store: World::open(dir.path()), said: Vec::new(), numbers: 0 };
        for step in &steps {
            world.take(step, &rooms);
            if matches!(step, Step::Restart) {
                let World { store, said, numbers } = world;
                drop(store);
                world = World { store: World::open(dir.path()), said, numbers };
            }
        }
        // Every other time all that is left is erased, at once.
        if erases_all {
            (0..world.said.len()).for_each(|message| world.delete(message));
        }
        // Trimming alone erases nothing, so something is deleted last.
        let last = say(&*world.store.log, &rooms[0], &["short"])[0];
        world.store.search.follow_all().unwrap();
        make(&*world.store.log, change(&rooms[0], last, ALICE, NewChangeKind::Delete)).unwrap();
        world.store.log.scrub(&rooms).unwrap();
        world.store.search.catch_up().unwrap();
        let shown = world.shown();
        let left: Vec<u64> = found_in_files(dir.path(), world.numbers).difference(&shown).copied().collect();
        prop_assert!(left.is_empty(), "{} of {} texts are still in files: {left:?}", left.len(), world.numbers);
        // The file is still good.
        for name in ["log.db", "search.db"] {
            let file = rusqlite::Connection::open(dir.path().join(name)).unwrap();
            let verdict: String = file.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
            prop_assert_eq!(verdict, "ok");
        }
    }
}

//! What strangers send can't make a reader panic or break its promise: each function of `fuzzing`, on its corpus and on
//! mutations of it. `PROPTEST_CASES` says how many; a fuzzer's finds belong into `fuzz/corpus`, where they are run for ever.

use propromo_chat::fuzzing::TARGETS;
use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let corpus = fs::read_dir(folder("corpus").join(target)).expect("each target has a corpus");
    corpus.map(|seed| fs::read(seed.expect("an entry").path()).expect("a seed")).collect()
}

/// What the grammars are made of, which is worth more than any byte.
const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\0",
    " ",
    ":",
    ",",
    "%",
    "%2f",
    "&",
    "=",
    "\"",
    "{",
    "}",
    "\\u0000",
    "é",
    "\u{fe0f}",
    "--X",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
    "ffffffff",
    "-1",
    ".",
];

/// What a fuzzer does to an input, in small.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, usize),
    /// Repeat what is here there.
    Copy(Index, Index, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Change> {
        prop_oneof![
            (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
            (any::<Index>(), select(WORDS)).prop_map(|(at, word)| Change::Insert(at, word.into())),
            (any::<Index>(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, new)| Change::Insert(at, new)),
            (any::<Index>(), 1..16usize).prop_map(|(at, length)| Change::Cut(at, length)),
            (any::<Index>(), any::<Index>(), 1..64usize).prop_map(|(from, to, length)| Change::Copy(from, to, length)),
        ]
    }

    fn apply(self, bytes: &mut Vec<u8>) {
        let at = |index: Index| index.index(bytes.len() + 1);
        match self {
            Change::Set(index, byte) => {
                let at = at(index);
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
            }
            Change::Insert(index, new) => {
                let at = at(index);
                bytes.splice(at..at, new);
            }
            Change::Cut(index, length) => {
                let at = at(index);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Change::Copy(from, to, length) => {
                let (from, to) = (at(from), at(to));
                let copied = bytes[from..(from + length).min(bytes.len())].to_vec();
                bytes.splice(to..to, copied);
            }
        }
    }
}

fn run(target: &str) {
    let (_, function) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let seeds = seeds(target);
    assert!(seeds.len() > 3, "{target} has {} seeds", seeds.len());
    seeds.iter().for_each(|seed| function(seed));
    let mutated = (select(seeds), prop::collection::vec(Change::any(), 1..6));
    let config = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(5000),
    };
    let failed = TestRunner::new(config).run(&mutated, |(mut input, changes)| {
        changes.into_iter().for_each(|change| change.apply(&mut input));
        function(&input);
        Ok(())
    });
    failed.unwrap_or_else(|failure| panic!("{target}: {failure}"));
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(#[test] fn $target() { run(stringify!($target)); })*

        const TESTED: &[&str] = &[$(stringify!($target)),*];
    };
}

targets! {
    request_head chunked_body gateway body_fields token
    websocket_frames propromo_frame channel_frame chitchat_frame
}

#[test]
fn each_function_has_a_test_here_and_a_fuzz_target() {
    let names = |names: &mut dyn Iterator<Item = String>| names.collect::<BTreeSet<_>>();
    let functions = names(&mut TARGETS.iter().map(|(name, _)| (*name).to_owned()));
    assert_eq!(functions, names(&mut TESTED.iter().map(|name| (*name).to_owned())));
    let files = fs::read_dir(folder("fuzz_targets")).expect("the fuzz targets");
    let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    assert_eq!(functions, names(&mut files.map(|file| stem(file.expect("an entry").path()))));
}

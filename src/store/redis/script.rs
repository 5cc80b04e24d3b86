//! The scripts in `lua/`, and the digests by which servers know them.

use std::sync::LazyLock;

pub(super) static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/append.lua")));
pub(super) static OUTCOME: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/outcome.lua")));
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/read.lua")));
pub(super) static ALIVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/alive.lua")));
pub(super) static BECAME: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/became.lua")));
pub(super) static ARCHIVED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/archived.lua")));
pub(super) static AT_HAND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/at_hand.lua")));
pub(super) static RESUME: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/resume.lua")));
pub(super) static LEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/lease.lua")));
pub(super) static TOLD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/told.lua")));
pub(super) static RAISE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/raise.lua")));
pub(super) static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/forget.lua")));
pub(super) static AGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/age.lua")));
pub(super) static SCRUB: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/scrub.lua")));
pub(super) static IMPORT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/import.lua")));
/// The script that `check` tries.
pub(super) static PROBE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/probe.lua")));
pub(super) static VERSION: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/version.lua")));
pub(super) static SPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/spend.lua")));
pub(super) static NAMES: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("lua/renew.lua"), include_str!("lua/names.lua"))));
pub(super) static PRESENCE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("lua/renew.lua"), include_str!("lua/presence.lua"))));

pub(super) struct Script {
    pub code: &'static str,
    hashed: redis::Script,
}

impl Script {
    fn new(code: &'static str) -> Script {
        Script { code, hashed: redis::Script::new(code) }
    }

    /// SHA-1 of the code in hexadecimal, as `EVALSHA` wants it.
    pub fn hash(&self) -> &str {
        self.hashed.get_hash()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    /// The words after each `before` in a text, up to the quote.
    fn words<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['\'', '"']).next()).collect()
    }

    fn files(directory: &str, ending: &str) -> Vec<(String, String)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let read = |path: &Path| (path.display().to_string(), fs::read_to_string(path).unwrap());
        let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.to_string_lossy().ends_with(ending)).map(|path| read(&path)).collect()
    }

    #[test]
    fn the_check_tries_every_command_that_is_used() {
        // Also under the shorter name that a script may give it.
        let call = "call('";
        let probe = words(include_str!("lua/probe.lua"), "try('");
        for (file, script) in files("src/store/redis/lua", ".lua") {
            let missing: Vec<_> = words(&script, call).difference(&probe).copied().collect();
            assert!(missing.is_empty(), "lua/probe.lua does not try {missing:?} of {file}");
        }
        let check = words(include_str!("rights.rs"), "cmd(\"");
        // These have other users, are only for clusters, or may be forbidden; every `SET` is tried, and `SUBSCRIBE` too,
        // with what ends it.
        let others = BTreeSet::from([
            "SENTINEL",
            "CLUSTER",
            "ASKING",
            "INFO",
            "SET",
            "TIME",
            "SPUBLISH",
            "SSUBSCRIBE",
            "SUBSCRIBE",
        ]);
        for (file, code) in files("src/store/redis", ".rs") {
            let used = words(&code, "cmd(\"");
            let missing: Vec<_> = used.difference(&check).filter(|word| !others.contains(*word)).collect();
            // An original chat has another Redis.
            let other = ["tests.rs", "original.rs"].iter().any(|name| file.ends_with(name));
            assert!(other || missing.is_empty(), "rights.rs does not try {missing:?} of {file}");
        }
    }
}

//! The scripts, and the digests by which servers know them. What they do stands in `lua/`.

use std::sync::LazyLock;

pub(super) static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/append.lua")));
pub(super) static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/forget.lua")));
pub(super) static IMPORT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/import.lua")));
pub(super) static SPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/spend.lua")));
pub(super) static NAMES: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("lua/renew.lua"), include_str!("lua/names.lua"))));
pub(super) static NAMED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/named.lua")));
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

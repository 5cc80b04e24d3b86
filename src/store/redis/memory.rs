//! How much of its memory a server uses.

use super::server::Wire;
use redis::cmd;

/// The shares of its memory from which on a server is short of it, and below which it has enough again.
pub(in crate::store) const SHORT: f64 = 0.7;
pub(in crate::store) const AMPLE: f64 = 0.5;

/// A server's memory, if it has a limit.
pub(super) struct Memory {
    used: u64,
    limit: u64,
    /// What it evicts when its memory is full.
    pub policy: String,
}

impl Memory {
    /// `None` without a limit, or if an ACL forbids the question.
    pub fn read(wire: &mut Wire) -> Option<Memory> {
        let answer = wire.ask(&cmd("INFO").arg("memory").get_packed_command()).ok()?;
        Memory::parse(&redis::from_redis_value::<String>(answer).ok()?)
    }

    fn parse(info: &str) -> Option<Memory> {
        let field =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let bytes = |name: &str| field(name)?.parse::<u64>().ok();
        let limit = bytes("maxmemory").filter(|limit| *limit > 0)?;
        // Buffers for replicas and for the append-only file are not held against the limit.
        let used = bytes("used_memory")?.saturating_sub(bytes("mem_not_counted_for_evict").unwrap_or(0));
        Some(Memory { used, limit, policy: field("maxmemory_policy").unwrap_or_default().to_owned() })
    }

    /// The share of its limit that it uses.
    pub fn share(&self) -> f64 {
        self.used as f64 / self.limit as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_not_counted_and_without_a_limit_there_is_no_share() {
        let info =
            "used_memory:600\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\nmem_not_counted_for_evict:100\r\n";
        let memory = Memory::parse(info).unwrap();
        assert_eq!((memory.share(), &*memory.policy), (0.5, "noeviction"));
        assert!(Memory::parse(&info.replace("maxmemory:1000", "maxmemory:0")).is_none());
    }
}

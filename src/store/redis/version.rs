//! The versions of the wire that nodes speak: what they publish, and what they keep in Redis for each other. A node
//! that does not fit the others does nothing, and says why.

use super::{fleet::Fleet, script, server::Wire};
use redis::{ErrorKind, RedisError, RedisResult, cmd};
use std::time::Duration;

/// The versions that a node knows.
///
/// Nodes from before there were versions speak 1, and note none.
#[derive(Clone, Copy)]
pub(super) struct Versions {
    /// The oldest version that it understands.
    pub oldest: u32,
    /// The version that it writes. It grows by one whenever nodes of the version before can't understand what this one
    /// writes.
    pub spoken: u32,
}

/// The versions of this program.
pub(super) const VERSIONS: Versions = Versions { oldest: 1, spoken: 1 };

/// How long a node counts after it has reported.
const COUNTS_FOR: Duration = Duration::from_secs(15);

const KEY: &str = "propromo:{nodes}:wire";

/// Notes that this node is here. If it and another one would not understand each other, fails and says what to do.
pub(super) fn agree(versions: Versions, node: &str, fleet: &Fleet, wires: &mut [Wire]) -> RedisResult<()> {
    let wire = wires.get_mut(fleet.place(KEY.as_bytes()));
    let wire = wire.ok_or_else(|| RedisError::from((ErrorKind::Client, "no server has the key of the nodes")))?;
    wire.ask(&cmd("SCRIPT").arg("LOAD").arg(script::VERSION.code).get_packed_command())?;
    let mut call = cmd("EVALSHA");
    call.arg(script::VERSION.hash()).arg(1).arg(KEY).arg(node);
    call.arg(versions.oldest).arg(versions.spoken).arg(COUNTS_FOR.as_millis() as u64);
    let others: Vec<u32> = redis::from_redis_value(wire.ask(&call.get_packed_command())?)?;
    let [oldest, spoken] = others[..] else { return Ok(()) };
    let Versions { oldest: own_oldest, spoken: own } = versions;
    let sentence = if spoken < own_oldest {
        format!(
            "a node that runs speaks version {spoken} of the wire, and this program understands {own_oldest} and later; \
             upgrade the others to a release between the two first, or stop them"
        )
    } else {
        format!(
            "a node that runs understands version {oldest} of the wire and later, and this program speaks {own}; it is too \
             old to run beside it"
        )
    };
    Err((ErrorKind::Client, "nodes would not understand each other", sentence).into())
}

//! Which versions of the wire the nodes speak: what they publish, and what they keep in Redis for each other. A node that
//! can't be beside the others does nothing, and says why.

use super::{fleet::Fleet, script, server::Wire};
use redis::{ErrorKind, RedisError, RedisResult, cmd};
use std::time::Duration;

/// What a node knows of the wire.
///
/// Nodes from before there was a number speak 1, and leave none.
#[derive(Clone, Copy)]
pub(super) struct Versions {
    /// The oldest that it understands.
    pub oldest: u32,
    /// Its own. Greater by one whenever nodes that speak the one before can't understand what it writes.
    pub spoken: u32,
}

/// Those of this program.
pub(super) const VERSIONS: Versions = Versions { oldest: 1, spoken: 1 };

/// How long a node counts after it has said that it is here.
const COUNTS_FOR: Duration = Duration::from_secs(15);

const KEY: &str = "propromo:{nodes}:wire";

/// Says that this node is here, unless it and another one would not understand each other: then fails with what to do.
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

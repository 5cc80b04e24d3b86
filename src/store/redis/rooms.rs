//! Lists the rooms. Keys have no order, so each page scans all of them.

use super::{failure::Failure, server, shared::Redis};
use crate::message::RoomName;
use redis::{Value, cmd};
use std::collections::BTreeSet;

/// Keys scanned with one command.
const LOOKED_AT: u32 = 1000;

/// Matches streams of messages (`…:log`), lists of who is here (`…:here`), and hardly any other key.
const PATTERN: &str = "propromo:{*}:[lh][oe][gr]*";

/// Up to `limit` rooms after `after` that have messages or members, in the order of their names.
pub(super) fn rooms(redis: &Redis, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, Failure> {
    let fleet = redis.fleet()?;
    let mut found = BTreeSet::new();
    for master in &fleet.masters {
        let mut wire = master.wire(server::ANSWER)?;
        let mut cursor = b"0".to_vec();
        loop {
            let scan = cmd("SCAN").arg(&cursor).arg("MATCH").arg(PATTERN).arg("COUNT").arg(LOOKED_AT).to_owned();
            let Value::Array(answer) = wire.ask(&scan.get_packed_command())? else { return Err(Failure::Unreadable) };
            let [Value::BulkString(next), Value::Array(keys)] = &answer[..] else { return Err(Failure::Unreadable) };
            for key in keys {
                let Value::BulkString(key) = key else { continue };
                let Some(room) = std::str::from_utf8(key).ok().and_then(room_of) else { continue };
                if after.is_none_or(|after| room > *after) {
                    found.insert(room);
                    // This never holds more than a page.
                    if found.len() > limit {
                        found.pop_last();
                    }
                }
            }
            cursor.clone_from(next);
            if cursor == b"0" {
                break;
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn room_of(key: &str) -> Option<RoomName> {
    let inner = key.strip_prefix("propromo:{")?;
    let name = inner.strip_suffix("}:log").or_else(|| inner.strip_suffix("}:here"))?;
    Some(RoomName::from_store(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::keys::Keys;

    #[test]
    fn a_room_is_found_by_its_keys_whatever_it_is_called() {
        for name in ["monitor:$2y$10$x", "channel:a}:log", "channel:{x}", "stream:ü"] {
            let room = RoomName::from_store(name);
            assert_eq!(room_of(&Keys(&room).log()), Some(room.clone()));
            assert_eq!(room_of(&Keys(&room).here()), Some(room.clone()));
            assert_eq!(room_of(&Keys(&room).head()), None);
        }
    }
}

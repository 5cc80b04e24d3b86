//! The channels through which nodes hear of each other.

use super::{address::Deployment, keys::Keys};
use crate::message::RoomName;

/// On which channels nodes hear what is stored in rooms.
///
/// A cluster passes what is published on an ordinary channel to each of its servers. So there the channels of rooms are
/// sharded ones (`SPUBLISH`, Redis 7.0), in the slot of their room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// There is one server: each room has an ordinary channel.
    Ordinary,
    /// In a cluster each room has a sharded channel.
    Sharded,
    /// A server of the cluster has no sharded channels: all is published on the channel of all nodes, as nodes of
    /// versions before the channels of rooms do. To other nodes, this one looks like one of those.
    Everybody,
}

impl Reach {
    /// The command that publishes on a room's channel.
    pub fn publish(self) -> &'static str {
        if self == Reach::Sharded { "SPUBLISH" } else { "PUBLISH" }
    }

    /// The command that subscribes to a room's channel.
    pub fn subscribe(self) -> &'static str {
        if self == Reach::Sharded { "SSUBSCRIBE" } else { "SUBSCRIBE" }
    }

    /// The command that ends that.
    pub fn unsubscribe(self) -> &'static str {
        if self == Reach::Sharded { "SUNSUBSCRIBE" } else { "UNSUBSCRIBE" }
    }
}

pub(super) struct Channels {
    /// All nodes listen here: to beats, and to what concerns more than the members of one room. Nodes of versions
    /// before the channels of rooms publish everything here, and listen to nothing else.
    pub everybody: String,
    /// Nothing is published here. All nodes listen that listen to the channels of rooms too, so that the others can be
    /// counted.
    pub knowing: String,
    /// In which rooms something was stored, for nodes that want to know that of all rooms.
    pub news: String,
    /// Channels are not separate per database, so their names have its number.
    db: i64,
}

impl Channels {
    pub fn of(deployment: &Deployment) -> Channels {
        let db = deployment.db();
        Channels {
            everybody: format!("propromo:feed:{db}"),
            knowing: format!("propromo:knowing:{db}"),
            news: format!("propromo:news:{db}"),
            db,
        }
    }

    /// The channel of a room.
    pub fn room(&self, room: &RoomName) -> String {
        Keys(room).key(&format!("feed:{}", self.db))
    }

    /// A channel that is named like a room's, beside this key.
    pub fn beside(&self, probe_key: &str) -> String {
        format!("{}:feed:{}", probe_key.trim_end_matches(":probe"), self.db)
    }

    /// The room that has this channel.
    pub fn room_of(&self, channel: &[u8]) -> Option<RoomName> {
        let rest = std::str::from_utf8(channel).ok()?.strip_prefix("propromo:{")?;
        let room = rest.strip_suffix(&self.db.to_string())?.strip_suffix("}:feed:")?;
        Some(RoomName::from_store(room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_names_its_room() {
        for url in ["redis://localhost/7", "redis+sentinel://localhost/chat", "redis+cluster://localhost"] {
            let channels = Channels::of(&Deployment::parse(url).unwrap());
            for name in ["monitor:$2y$10$x", "channel:a}:feed:7", "channel:{x}", "stream:ü"] {
                let room = RoomName::from_store(name);
                assert_eq!(channels.room_of(channels.room(&room).as_bytes()), Some(room));
            }
            for other in [&channels.everybody, &channels.knowing, &channels.news] {
                assert_eq!(channels.room_of(other.as_bytes()), None);
            }
        }
    }
}

//! The keys of one room.

use crate::message::RoomName;

pub(super) struct Keys<'a>(pub &'a RoomName);

impl Keys<'_> {
    /// The keys that scripts about the whole log take, in their order.
    pub fn of_log(&self) -> [String; 6] {
        [self.log(), self.head(), self.changes(), self.became(), self.changed(), self.at_hand()]
    }

    pub fn log(&self) -> String {
        self.key("log")
    }

    /// Copy of the log while it is rewritten.
    pub fn copy(&self) -> String {
        self.key("copy")
    }

    pub fn head(&self) -> String {
        self.key("head")
    }

    pub fn changes(&self) -> String {
        self.key("changes")
    }

    /// The state of changed messages.
    pub fn became(&self) -> String {
        self.key("became")
    }

    /// The messages that have such a state.
    pub fn changed(&self) -> String {
        self.key("changed")
    }

    /// Archived messages that can be changed, since a client asked for it.
    pub fn at_hand(&self) -> String {
        self.key("at-hand")
    }

    pub fn nodes(&self) -> String {
        self.key("nodes")
    }

    pub fn here(&self) -> String {
        self.key("here")
    }

    pub fn name_nodes(&self) -> String {
        self.key("name-nodes")
    }

    pub fn names(&self) -> String {
        self.key("names")
    }

    /// The key of a sender's reference.
    pub fn reference(&self, digest: &[u8]) -> String {
        self.key(&format!("ref:{}", base16ct::lower::encode_string(&digest[..16])))
    }

    /// Where a node's last batch for the room leaves its outcome. `slot` changes whenever an answer was lost, so that
    /// no later batch overwrites an outcome that is still to be looked up.
    pub fn outcome(&self, node: &str, slot: u64) -> String {
        self.key(&format!("did:{node}:{slot}"))
    }

    /// The tag is never empty, whatever the room's name: it begins with a letter, never with `}`.
    pub fn key(&self, what: &str) -> String {
        ["propromo:{", self.0.as_str(), "}:", what].concat()
    }
}

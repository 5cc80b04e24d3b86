//! The observer: it hears of all that is stored in every room, and of who comes and goes, to tell programs outside.

use crate::message::{MessageId, RoomName};
use std::sync::{Arc, OnceLock};

/// Hears of what happens in rooms. Messages wait meanwhile, so its methods must not block.
pub trait Observer: Send + Sync {
    /// An entry that is kept was stored in a room. With a single node, ids come in ascending order and none is left
    /// out. `by` said it, or made the change.
    fn stored(&self, room: &RoomName, id: MessageId, by: &Arc<str>);

    /// A user's first socket has come to a room, or the last has gone, over all nodes.
    fn came(&self, room: &RoomName, user: &Arc<str>, is_here: bool);

    /// Other nodes may have stored something that was not reported here.
    fn missed(&self);

    /// Whether it wants to hear of rooms that have no members on this node.
    fn is_curious(&self) -> bool;
}

/// The one observer, once there is one.
pub(super) type SharedObserver = Arc<OnceLock<Arc<dyn Observer>>>;

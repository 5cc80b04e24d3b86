//! The commands that lanes take.

use super::{
    audience::Announcement,
    member::{Member, Room},
    run::Run,
};
use crate::{message::MessageId, socket::close::Close};
use bytes::Bytes;
use crossbeam_channel::Sender;
use std::sync::Arc;

/// A command to a lane.
pub(super) enum Command {
    Deliver(Batch),
    Announce(Arc<Announcement>),
    Join(Arc<Member>),
    Release(Arc<Member>, Option<MessageId>),
    Leave(Arc<Member>),
    Close {
        room: Arc<Room>,
        farewell: Bytes,
        close: Close,
    },
    /// Notify the sender when everything before this has been sent.
    Settle(Sender<()>),
}

/// What was stored together.
#[derive(Clone)]
pub(super) struct Batch {
    pub runs: Arc<[Run]>,
    pub replies: Arc<[Reply]>,
}

/// Frames for one member alone, at their place among the messages.
pub(super) struct Reply {
    pub to: Arc<Member>,
    pub frames: Bytes,
}

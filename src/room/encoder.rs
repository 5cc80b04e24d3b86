//! The words of one door for what happens in a room. Doors implement it; rooms only frame and send it.

use crate::{
    entry::{Change, Unchangeable},
    event::Event,
    message::{Message, MessageId, RoomName},
};

/// A door's words for the members that came in through it.
///
/// Each method appends the text of one frame to `out`. If it appends nothing, no frame is sent.
pub trait Encoder: Send + Sync {
    /// The door's name; members with the same name hear the same bytes.
    fn name(&self) -> &'static str;

    fn message(&self, room: &RoomName, message: &Message, out: &mut Vec<u8>);

    /// A change of a message. Doors whose clients know no changes append nothing.
    fn change(&self, _: &RoomName, _: &Change, _: &mut Vec<u8>) {}

    /// To the author alone: the change is not made.
    fn unchanged(&self, _: Unchangeable, _reference: Option<&str>, _: &mut Vec<u8>) {}

    /// To the sender alone: the message with this `reference` is stored.
    fn ack(&self, reference: &str, id: MessageId, out: &mut Vec<u8>);

    /// To the sender alone: its message could not be stored.
    fn not_stored(&self, reference: Option<&str>, out: &mut Vec<u8>);

    /// To the sender alone: nobody knows whether its message is stored.
    fn unknown(&self, reference: Option<&str>, out: &mut Vec<u8>);

    fn event(&self, room: &RoomName, event: &Event, out: &mut Vec<u8>);
}

//! The doors: who may open a WebSocket, and what is said on it. One file for each kind of client.
//!
//! A door checks everything that can be checked without spending the token. `door::handshake` spends it last, directly
//! before the `101`, and then lets the door's conversation run.

pub mod admission;
pub mod beginning;
pub mod channel;
mod channel_change;
mod channel_fields;
pub mod channel_frame;
mod channel_history;
mod channel_message;
mod channel_moderation;
mod channel_search;
pub mod chitchat;
pub mod conversation;
pub mod handshake;
pub mod history_page;
pub mod inbox;
pub mod join;
pub mod json;
pub mod json_input;
pub mod own_rooms;
pub mod presented;
pub mod propromo;
pub mod stream;

use admission::Door;

/// Every door, in the order in which they are asked for a path.
pub const DOORS: &[&dyn Door] =
    &[&propromo::Propromo, &channel::Channel, &inbox::Inbox, &chitchat::Chitchat, &stream::Stream];

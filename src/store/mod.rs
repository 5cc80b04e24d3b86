//! What survives a restart: accounts, messages, spent tokens. One trait in each file; the back ends are in folders.
//!
//! Stores know nothing of sockets or JSON. Every call may block and may fail, and lanes call nothing here.

pub mod account_messages;
pub mod accounts;
pub mod archive;
pub mod archived;
pub mod channels;
pub mod chat_rooms;
pub mod erasure;
pub mod error;
pub mod feed;
pub mod journal;
pub mod ledger;
pub mod log;
pub mod moderation;
pub mod moving;
pub mod names;
pub mod outage;
pub mod outbox;
pub mod postgres;
pub mod presence;
pub mod reads;
pub mod redis;
pub mod search;
pub mod sessions;
pub mod sqlite;
#[cfg(test)]
pub(crate) mod suite;
pub mod usage;
mod user_id;

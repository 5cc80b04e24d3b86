//! History that outlives Redis: an archive in PostgreSQL behind the log of many nodes.
//!
//! ```text
//! append ─▶ Redis: the newest of each room ─▶ archiver (one node at a time) ─▶ PostgreSQL: all of it
//!                      ▲                                                          ▲
//!                      └──────── reader: the stream first, then the archive ──────┘
//! ```
//!
//! Only Redis gives out ids, keeps the order, and decides about changes. The archive follows: a room's position says up
//! to which entry it has everything. The state of a changed message stays in Redis until the archive has it, and
//! overrides what the archive says.
//!
//! Nothing is written twice or out of order, even by a slow node: each portion names the position from which it was
//! read, and is dropped if the position has moved. Erasing moves it too, so a copy that was read before can't follow an
//! erasure.

mod archiver;
mod copier;
mod feed;
mod hot;
mod log;
mod losses;
mod moving;
mod reader;
mod search;
#[cfg(test)]
mod tests;

pub use self::{archiver::Archiver, copier::Figures, log::ArchivedLog, search::ArchiveSearch};

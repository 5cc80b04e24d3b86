//! History that outlives Redis: an archive in PostgreSQL behind the log of many nodes.
//!
//! ```text
//! append ─▶ Redis: the newest of each room ─▶ archiver (one node at a time) ─▶ PostgreSQL: all of it
//!                      ▲                                                          ▲
//!                      └──────── reader: the stream first, then the archive ──────┘
//! ```
//!
//! Redis alone gives ids, keeps the order, and decides about changes. The archive only follows: a room's position says up to
//! which entry it has everything. What a message has become stays in Redis until the archive knows of it, and is laid over
//! what the archive says.
//!
//! Nothing is written twice or out of order, whoever was slow: what is taken in names the position from which it was read, and
//! comes to nothing if that has moved. Erasing moves it too, so a copy that was read before can't come after.

mod archiver;
mod copier;
mod feed;
mod log;
mod reader;
mod search;
#[cfg(test)]
mod tests;

pub use self::{archiver::Archiver, copier::Figures, log::ArchivedLog, search::ArchiveSearch};

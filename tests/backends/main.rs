//! What backends do with a key: `/api/v1`, one group of calls a file.

mod keys;
mod messages;
mod moderation;
mod tokens;

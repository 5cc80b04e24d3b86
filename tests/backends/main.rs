//! What backends do with a key: `/api/v1`, one group of calls a file.

mod changes;
mod github;
mod keys;
mod messages;
mod moderation;
mod mutes;
mod tokens;
mod webhooks;

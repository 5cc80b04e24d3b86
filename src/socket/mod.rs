//! One open WebSocket (RFC 6455): frames, outbound queue, flusher.

pub mod client_frames;
pub mod close;
pub mod flusher;
pub mod frame;
pub mod memory;
pub mod outbound;
pub mod sessions;
pub mod wakeups;
pub mod wire;

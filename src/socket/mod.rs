//! One open WebSocket (RFC 6455): handshake, read loop, outbound queue.

pub mod close;
pub mod flusher;
pub mod frame;
pub mod framing;
pub mod handshake;
pub mod outbound;
pub mod session;
pub mod sessions;
mod wakeups;
mod wire;

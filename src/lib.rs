//! propromo-chat: a chat server on plain blocking threads.
//!
//! The way of a message, and where to read it:
//!
//! ```text
//! client -> server::connection -> socket::session -> room::log -> room::lane -> socket::outbound -> every member
//!           (accept, head)        (blocking read)   (order, store) (fan-out)    (one ordered queue a socket)
//! ```
//!
//! - [`server`] accepts connections, reads request heads and routes each request by itself.
//! - [`http`] answers plain requests (through a gateway to tiny_http); [`door`] says who may open a
//!   WebSocket and what is said on it.
//! - [`socket`] is one open WebSocket: handshake, read loop, outbound queue, flusher.
//! - [`room`] orders, stores and delivers messages; it knows frames, not JSON.
//! - [`cli`] is one file a command, [`config`] every setting, [`logging`] what goes to standard error.
//! - [`auth`] is keys, tokens, passwords, origins; [`store`] is what survives a restart.

pub mod auth;
pub mod chat;
pub mod cli;
pub mod config;
pub mod door;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod refusal;
pub mod room;
pub mod server;
pub mod socket;
pub mod store;
pub mod vital;

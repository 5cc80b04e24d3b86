//! propromo-chat: a chat server on plain blocking threads.
//!
//! The way of a message, and where to read it:
//!
//! ```text
//! client -> server::connection -> door::session   -> room::log -> room::lane -> socket::outbound -> every member
//!           (accept, head)        (blocking read)   (order, store) (fan-out)    (one ordered queue a socket)
//! ```
//!
//! From top to bottom; nothing imports from a layer above its own:
//!
//! - [`cli`] is one file a command.
//! - [`server`] accepts connections, reads requests and routes each by itself.
//! - [`api`] answers plain requests; [`door`] says who may open a WebSocket and what is said on it.
//! - [`chat`] puts the parts together.
//! - [`room`] orders, stores and delivers messages; it knows frames, not JSON.
//! - [`gateway`] is the way to tiny_http and back, [`limits`] how often and how much, [`metrics`] what is counted,
//!   [`recheck`] access that is taken away.
//! - [`socket`] is one open WebSocket: frames, outbound queue, flusher; [`http`] what travels as plain HTTP.
//! - [`config`] is every setting, [`auth`] keys, tokens, passwords, origins.
//! - [`store`] is what survives a restart.
//! - [`message`], [`refusal`], [`request_id`], [`logging`], [`vital`] are what all of them share.

pub mod api;
pub mod auth;
pub mod chat;
pub mod cli;
pub mod config;
pub mod door;
pub mod event;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod http;
pub mod limits;
pub mod logging;
pub mod message;
pub mod metrics;
pub mod recheck;
pub mod redact;
pub mod refusal;
pub mod request_id;
pub mod room;
pub mod server;
pub mod socket;
pub mod start_error;
pub mod store;
pub mod vital;

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
//! - [`entry`], [`event`], [`likeness`], [`logging`], [`message`], [`redact`], [`refusal`], [`request_id`], [`start_error`] and
//!   [`vital`] are what all of them share.

mod api;
mod auth;
mod chat;
mod cli;
mod config;
mod door;
mod entry;
mod event;
#[doc(hidden)]
pub mod facade;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod http;
mod likeness;
mod limits;
mod logging;
mod message;
mod metrics;
mod recheck;
mod redact;
mod refusal;
mod request_id;
mod room;
mod server;
mod socket;
mod start_error;
mod store;
mod vital;
mod webhooks;

pub use cli::run;

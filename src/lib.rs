//! propromo-chat: a chat server on plain blocking threads.
//!
//! The path of a message, and where to read about it:
//!
//! ```text
//! client -> server::connection -> door::session   -> room::writer -> room::lane -> socket::outbound -> every member
//!           (accept, head)        (blocking read)   (order, store) (fan-out)    (one ordered queue a socket)
//! ```
//!
//! From top to bottom; nothing imports from a layer above its own:
//!
//! - [`cli`] has one file for each command.
//! - [`server`] accepts connections, reads requests and routes each on its own.
//! - [`api`] answers plain requests; [`door`] decides who may open a WebSocket, and handles what is said on it.
//! - [`chat`] puts the parts together.
//! - [`room`] orders, stores and delivers messages; it knows frames, not JSON.
//! - [`gateway`] leads to tiny_http and back, [`limits`] bounds how often and how much, [`metrics`] counts, [`recheck`]
//!   closes clients that have lost their access.
//! - [`socket`] is one open WebSocket: frames, outbound queue, flusher; [`http`] is plain HTTP on the wire.
//! - [`config`] has every setting; [`auth`] has keys, tokens, passwords, origins.
//! - [`store`] keeps what survives a restart.
//! - [`entry`], [`event`], [`likeness`], [`logging`], [`message`], [`redact`], [`refusal`], [`request_id`],
//!   [`start_error`] and [`vital`] are shared by all of them.

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
mod flat_json;
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

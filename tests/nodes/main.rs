//! Several nodes on one Redis act as one server, also when Redis or a node fails.

#[path = "../common/mod.rs"]
mod common;

mod crowd;
mod everything_fails;
mod names;
mod outages;
mod presence;
mod sentinel;
mod several;
mod single_use;

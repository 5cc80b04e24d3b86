//! The steps of a message's way, each by itself: `cargo bench`, or `cargo bench -- delivery` for one group.

use criterion::{criterion_group, criterion_main};

mod delivery;
mod requests;
mod store;
mod tokens;
mod wire;

criterion_group!(steps, wire::all, requests::all, tokens::all, store::all, delivery::all);
criterion_main!(steps);

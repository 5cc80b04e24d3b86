//! Several nodes on one Redis act as one server, also when Redis or a node fails.

mod archive;
mod changes;
mod crowd;
mod erasure;
mod everything_fails;
mod import;
mod inbox;
mod migrate;
mod migrate_living;
mod moving;
mod names;
mod oldest;
mod outages;
mod outcomes;
mod postgres;
mod presence;
mod presence_after_faults;
mod presence_costs;
mod reads;
mod rights;
mod search;
mod sentinel;
mod set_back;
mod several;
mod single_use;
mod webhooks;

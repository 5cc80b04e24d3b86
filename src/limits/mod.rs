//! Limits: rates and guesses by address and account, and bounded numbers of places.

pub mod account_messages;
pub mod beginnings;
pub mod guesses;
pub mod making;
pub mod overviews;
pub mod places;
pub mod posting;
pub mod publishing;
pub mod rate;
pub mod rights;
pub mod searching;
pub mod single_flight;
mod table;
pub mod token_rate;
pub mod turns;

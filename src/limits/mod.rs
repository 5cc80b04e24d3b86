//! Limits: rates and guesses by address and account, and bounded numbers of places.

pub mod guesses;
pub mod made_once;
pub mod places;
pub mod posting;
pub mod publishing;
pub mod rate;
pub mod rights;
pub mod signing;
mod table;
pub mod turns;

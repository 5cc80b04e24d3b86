//! Bounds on how often and how much: rates by address and account, and bounded numbers of places.

pub mod places;
pub mod rate;
pub mod rooms;

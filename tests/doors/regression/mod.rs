//! What once went wrong, with what real clients send. Each test is named after what happened.

mod bodies;
mod cors;
mod frames;
mod heads;
mod tokens;

//! Plain HTTP as it travels (RFC 9110, RFC 9112): request heads, bodies, answers.

pub mod answer;
pub mod body;
pub mod chunked;
pub mod client_address;
pub mod cookie;
pub mod head;
pub mod intake;
pub mod multipart;
pub mod negotiation;
pub mod parameters;
pub mod parse;
pub mod reply;
pub mod request;

//! Authentication: keys, tokens, passwords, origins.

pub mod api_keys;
pub mod foreign;
pub mod keys;
pub mod origin;
pub mod password;
pub mod pem;
pub mod session;
pub mod token;
pub mod webhook_signature;

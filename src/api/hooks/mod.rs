//! `/hooks`: what other sites tell this server, as they sign it.

pub mod github;
mod json_text;
mod line;

pub use github::{ENDPOINTS, GithubIntake};

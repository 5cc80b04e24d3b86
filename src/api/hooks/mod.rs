//! `/hooks`: reports from other sites, which sign them.

pub mod github;
mod json_text;
mod line;

pub use github::{ENDPOINTS, GithubIntake};

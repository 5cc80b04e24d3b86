//! Bodies that are larger than this server keeps: they are read as they arrive, and replaced by a short summary.

use super::head::{Head, Method};
use crate::refusal::Refusal;
use std::io::Read;

/// Reads the large bodies of some paths.
pub trait Intake: Send + Sync {
    /// Whether this reads requests with this method and path (as decoded segments).
    fn takes(&self, method: Method, segments: &[String]) -> bool;

    /// Most bytes of such a body.
    fn most(&self) -> usize;

    /// Reads the body, and returns what the endpoint gets in its place.
    fn digest(&self, head: &Head, body: &mut dyn Read) -> Result<Vec<u8>, Refusal>;
}

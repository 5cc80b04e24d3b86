//! Bodies that are larger than this server keeps: read as they come, and replaced by the little that they say.

use super::head::{Head, Method};
use crate::refusal::Refusal;
use std::io::Read;

/// Reads large bodies of some paths.
pub trait Intake: Send + Sync {
    /// Whether a request by this method, to this path (its decoded segments), is read here.
    fn takes(&self, method: Method, segments: &[String]) -> bool;

    /// The most bytes that its body may have.
    fn most(&self) -> usize;

    /// Reads the body; answers what its endpoint gets in its place.
    fn digest(&self, head: &Head, body: &mut dyn Read) -> Result<Vec<u8>, Refusal>;
}

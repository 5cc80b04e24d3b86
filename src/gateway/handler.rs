//! The handler that answers plain requests, on any thread.

use crate::{
    http::{head::Method, reply::Reply, request::Request},
    refusal::{Reason, Refusal},
    request_id::{self, RequestId},
    vital,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Whether the calling thread itself answers requests with this method and path (as segments).
pub type AtOnce = fn(Method, &[String]) -> bool;

/// Answers requests. Clones share the same endpoints.
#[derive(Clone)]
pub struct Handler {
    answer: Arc<dyn Fn(Request) -> Reply + Send + Sync>,
    at_once: AtOnce,
}

impl Handler {
    /// A handler whose every request may have to wait for something.
    pub fn new(answer: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Handler {
        Handler { answer: Arc::new(answer), at_once: |_, _| false }
    }

    /// Sets the rule for requests that the calling thread answers itself.
    pub fn with_at_once(self, at_once: AtOnce) -> Handler {
        Handler { at_once, ..self }
    }

    /// Whether the calling thread answers requests with this method and path itself.
    pub fn is_at_once(&self, method: Method, segments: &[String]) -> bool {
        (self.at_once)(method, segments)
    }

    /// Answers a request, even if its endpoint panics.
    pub fn answer(&self, request: Request, id: &RequestId) -> Reply {
        let _request = id.enter();
        let reply = or_500(|| {
            vital::may_panic("endpoint");
            (self.answer)(request)
        });
        reply.with(request_id::HEADER, id.as_str())
    }
}

/// The result of `answer`, or a 500 if it panics.
pub fn or_500(answer: impl FnOnce() -> Reply) -> Reply {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
        tracing::error!("an endpoint panicked; its request is answered with 500");
        Reply::from(Refusal::from(Reason::Internal))
    })
}

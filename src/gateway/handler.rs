//! What answers plain requests, whichever thread asks.

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

/// Whether what is asked by this method, at this path, is answered by the thread that asks.
pub type AtOnce = fn(Method, &[String]) -> bool;

/// Answers requests; a clone answers the same.
#[derive(Clone)]
pub struct Handler {
    answer: Arc<dyn Fn(Request) -> Reply + Send + Sync>,
    at_once: AtOnce,
}

impl Handler {
    /// One that may have to wait for something with any request.
    pub fn new(answer: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Handler {
        Handler { answer: Arc::new(answer), at_once: |_, _| false }
    }

    /// The same, with a rule by which method and path tell what is answered by the thread that asks.
    pub fn with_at_once(self, at_once: AtOnce) -> Handler {
        Handler { at_once, ..self }
    }

    /// Whether the thread that asks for this method and path answers itself.
    pub fn is_at_once(&self, method: Method, segments: &[String]) -> bool {
        (self.at_once)(method, segments)
    }

    /// Answers a request, also if its endpoint panics.
    pub fn answer(&self, request: Request, id: &RequestId) -> Reply {
        let _request = id.enter();
        let reply = or_500(|| {
            vital::may_panic("endpoint");
            (self.answer)(request)
        });
        reply.with(request_id::HEADER, id.as_str())
    }
}

/// What `answer` says; 500 if it panics.
pub fn or_500(answer: impl FnOnce() -> Reply) -> Reply {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
        tracing::error!("an endpoint panicked; its request is answered with 500");
        Reply::from(Refusal::from(Reason::Internal))
    })
}

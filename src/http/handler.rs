//! What answers plain requests, whichever thread asks.

use super::{reply::Reply, request::Request};
use crate::{
    refusal::{Reason, Refusal},
    server::request_id::{self, RequestId},
    vital,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Answers requests; a clone answers the same.
#[derive(Clone)]
pub struct Handler {
    answer: Arc<dyn Fn(Request) -> Reply + Send + Sync>,
    at_once: fn(&Request) -> bool,
}

impl Handler {
    /// One that may have to wait for something with any request.
    pub fn new(answer: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Handler {
        Handler { answer: Arc::new(answer), at_once: |_| false }
    }

    /// The same, which waits for nothing with the requests that are `at_once`.
    pub fn or_at_once(self, at_once: fn(&Request) -> bool) -> Handler {
        Handler { at_once, ..self }
    }

    /// Whether this request is answered without waiting for a store, a password or anybody else.
    pub fn waits_for_nothing(&self, request: &Request) -> bool {
        (self.at_once)(request)
    }

    /// Answers a request, also if its endpoint panics: with 500.
    pub fn answer(&self, request: Request, id: &RequestId) -> Reply {
        let _request = id.enter();
        let answer = catch_unwind(AssertUnwindSafe(|| {
            vital::may_panic("endpoint");
            (self.answer)(request)
        }));
        let reply = answer.unwrap_or_else(|_| {
            tracing::error!("an endpoint panicked; its request is answered with 500");
            Reply::from(Refusal::from(Reason::Internal))
        });
        reply.with(request_id::HEADER, id.as_str())
    }
}

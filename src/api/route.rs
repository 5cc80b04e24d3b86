//! One endpoint: its methods, its path, its answer.

use crate::{
    chat::Chat,
    http::{head::Method, reply::Reply, request::Request},
    refusal::Refusal,
};
use std::sync::Arc;

/// The endpoints of one file.
pub struct Endpoints {
    pub routes: &'static [Route],
    /// The form in which they refuse.
    pub refused: fn(Refusal) -> Reply,
}

/// One endpoint.
pub struct Route {
    /// GET answers HEAD too; OPTIONS is answered for all.
    pub methods: &'static [Method],
    /// For example `/chats/:id/token`: `:name` matches any one segment, everything else only itself.
    pub pattern: &'static str,
    pub answer: Answer,
    /// Whether the thread that read the request makes the answer. Such an endpoint waits for no password, reads no
    /// pages from a store, and needs little stack.
    pub at_once: bool,
}

pub type Answer = fn(&Arc<Chat>, &Request, &Params<'_>) -> Result<Reply, Refusal>;

impl Route {
    pub const fn new(methods: &'static [Method], pattern: &'static str, answer: Answer) -> Route {
        Route { methods, pattern, answer, at_once: false }
    }

    /// The same route, answered by the thread that read the request.
    pub const fn at_once(self) -> Route {
        Route { at_once: true, ..self }
    }

    pub fn params<'a>(&self, segments: &'a [String]) -> Option<Params<'a>> {
        let mut wanted = self.pattern.split('/').filter(|part| !part.is_empty());
        let mut params = Params(Vec::new());
        for segment in segments {
            let part = wanted.next()?;
            match part.strip_prefix(':') {
                Some(name) => params.0.push((name, segment)),
                None if part == segment => {}
                None => return None,
            }
        }
        wanted.next().is_none().then_some(params)
    }

    pub fn takes(&self, method: Method) -> bool {
        let method = if method == Method::Head { Method::Get } else { method };
        self.methods.contains(&method)
    }
}

/// The segments of the path for each `:name` of the route's pattern, decoded.
#[derive(Debug)]
pub struct Params<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Params<'a> {
    /// The segment for `name`, which must be in the pattern.
    pub fn get(&self, name: &str) -> &'a str {
        let found = self.0.iter().find(|(n, _)| *n == name);
        debug_assert!(found.is_some(), "the pattern has no :{name}");
        found.map_or("", |(_, segment)| segment)
    }
}

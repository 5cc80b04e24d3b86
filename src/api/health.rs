//! `/healthz`, `/readyz` and `/metrics`, for operators.

use super::route::{Endpoints, Params, Route};
use crate::{
    chat::Chat,
    http::{head::Method, reply::Reply, request::Request},
    metrics::{self, text_format},
    refusal::Refusal,
    store::{error::StoreError, outage::KnownOutage},
};
use parking_lot::{Condvar, Mutex};
use serde::Serialize;
use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a store may take to answer. Callers of `/readyz` usually wait for a second.
const PATIENCE: Duration = Duration::from_millis(800);

pub const ENDPOINTS: Endpoints = Endpoints {
    routes: &[Route::new(&[Method::Get], "/healthz", healthz), Route::new(&[Method::Get], "/readyz", readyz)],
    refused: Reply::from,
};

pub const FIGURES: Endpoints =
    Endpoints { routes: &[Route::new(&[Method::Get], "/metrics", metrics)], refused: Reply::from };

/// The process is alive: it answers.
fn healthz(_: &Arc<Chat>, _: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    Ok(Reply::text(200, "ok"))
}

/// The stores can be reached, and the server is not shutting down: this node can let clients in.
fn readyz(chat: &Arc<Chat>, _: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    if chat.draining.load(Ordering::Relaxed) {
        return Ok(Reply::json(503, &Readiness { ready: false, draining: true, away: Vec::new() }));
    }
    let probes: [(&'static str, Probe); 4] = [
        ("account store", |chat| chat.accounts.probe()),
        ("room store", |chat| chat.chat_rooms.probe()),
        ("token ledger", |chat| chat.ledger.probe()),
        ("message log", |chat| chat.log.probe()),
    ];
    Ok(readiness(within(PATIENCE, chat, probes)))
}

type Probe = fn(&Chat) -> Result<(), StoreError>;

/// Asks all stores at the same time. A store that does not answer in time counts as away. Only one question is open per
/// store: callers who come meanwhile share its answer.
fn within(patience: Duration, chat: &Arc<Chat>, probes: [(&'static str, Probe); 4]) -> Vec<Result<(), StoreError>> {
    static STORES: [Asked; 4] = [const { Asked { standing: Mutex::new(Standing::NEW), changed: Condvar::new() } }; 4];
    let until = Instant::now() + patience;
    let asked = probes.into_iter().zip(&STORES).map(|((store, probe), asked)| (store, asked, asked.ask(chat, probe)));
    let asked: Vec<_> = asked.collect();
    asked.into_iter().map(|(store, asked, before)| asked.answer(store, before, until)).collect()
}

/// A store, and its last answer.
struct Asked {
    standing: Mutex<Standing>,
    changed: Condvar,
}

struct Standing {
    is_asked: bool,
    answers: u64,
    /// What the store can't do, why, and whether that has been logged.
    fault: Option<(&'static str, String, bool)>,
}

impl Standing {
    const NEW: Standing = Standing { is_asked: false, answers: 0, fault: None };
}

impl Asked {
    /// Asks, unless a question is open. Returns how many answers there were before.
    fn ask(&'static self, chat: &Arc<Chat>, probe: Probe) -> u64 {
        let mut standing = self.standing.lock();
        if !mem::replace(&mut standing.is_asked, true) {
            let chat = chat.clone();
            let probe = move || {
                let mut told = Told { asked: self, fault: Some(("answer", "its probe ended early".into(), false)) };
                told.fault = probe(&chat).err().map(|error| (error.what, error.source.to_string(), error.is_known()));
            };
            // If no thread can be started, there is no answer.
            standing.is_asked = thread::Builder::new().name("probe".into()).spawn(probe).is_ok();
        }
        standing.answers
    }

    fn answer(&self, store: &'static str, before: u64, until: Instant) -> Result<(), StoreError> {
        let mut standing = self.standing.lock();
        while standing.answers == before {
            if self.changed.wait_until(&mut standing, until).timed_out() && standing.answers == before {
                return Err(StoreError { store, what: "answer", source: "it is silent".into() });
            }
        }
        match &standing.fault {
            None => Ok(()),
            Some((what, said, true)) => Err(StoreError { store, what, source: KnownOutage(said.clone()).into() }),
            Some((what, said, false)) => Err(StoreError { store, what, source: said.clone().into() }),
        }
    }
}

/// Wakes all who wait, even if the probe panics.
struct Told {
    asked: &'static Asked,
    fault: Option<(&'static str, String, bool)>,
}

impl Drop for Told {
    fn drop(&mut self) {
        let mut standing = self.asked.standing.lock();
        *standing = Standing { is_asked: false, answers: standing.answers + 1, fault: self.fault.take() };
        self.asked.changed.notify_all();
    }
}

fn metrics(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    let page = chat.metrics.render();
    let reply = if text_format::reads_open_metrics(request.header_values("accept")) {
        Reply::new(200, metrics::CONTENT_TYPE, page)
    } else {
        Reply::new(200, text_format::CONTENT_TYPE, text_format::from_open_metrics(&page))
    };
    Ok(reply.with("Cache-Control", "no-store").with("Vary", "Accept"))
}

fn readiness(probes: impl IntoIterator<Item = Result<(), StoreError>>) -> Reply {
    static AWAY: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let failed: Vec<_> = probes.into_iter().filter_map(Result::err).collect();
    let away: Vec<_> = failed.iter().map(|error| error.store).collect();
    let before = mem::replace(&mut *AWAY.lock(), away.clone());
    // This is asked every few seconds, so each outage is logged once.
    for error in failed.iter().filter(|error| !before.contains(&error.store)) {
        error.log("not ready");
    }
    if away.is_empty() && !before.is_empty() {
        tracing::info!("ready again");
    }
    let status = if away.is_empty() { 200 } else { 503 };
    Reply::json(status, &Readiness { ready: away.is_empty(), draining: false, away })
}

#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    /// The server is shutting down, and still serves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    draining: bool,
    /// The stores that can't be reached. The reason is only logged: it may name hosts and users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    away: Vec<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn body(reply: &Reply) -> Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn with_all_stores_the_server_is_ready() {
        let reply = readiness([Ok(()), Ok(())]);
        assert_eq!(reply.status, 200);
        assert_eq!(body(&reply), json!({"ready": true}));
    }

    #[test]
    fn a_store_that_is_away_is_named_without_its_secrets() {
        let error =
            StoreError { store: "token ledger", what: "answer", source: "redis://:secret@10.0.0.1 refused".into() };
        let reply = readiness([Ok(()), Err(error)]);
        assert_eq!(reply.status, 503);
        assert_eq!(body(&reply), json!({"ready": false, "away": ["token ledger"]}));
    }
}

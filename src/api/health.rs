//! `/healthz`, `/readyz`, `/metrics`: for those who look after the server.

use super::route::{Endpoints, Params, Route};
use crate::{
    chat::Chat,
    http::{head::Method, reply::Reply, request::Request},
    metrics::{self, prometheus},
    refusal::Refusal,
    store::error::StoreError,
};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    mem,
    sync::{Arc, atomic::Ordering},
};

pub const ENDPOINTS: Endpoints = Endpoints {
    routes: &[Route::new(&[Method::Get], "/healthz", healthz), Route::new(&[Method::Get], "/readyz", readyz)],
    refused: Reply::from,
};

pub const FIGURES: Endpoints =
    Endpoints { routes: &[Route::new(&[Method::Get], "/metrics", metrics)], refused: Reply::from };

/// The process is alive: it can answer at all.
fn healthz(_: &Arc<Chat>, _: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    Ok(Reply::text(200, "ok"))
}

/// The stores can be reached and the end has not begun, so that this node can let clients in.
fn readyz(chat: &Arc<Chat>, _: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    if chat.draining.load(Ordering::Relaxed) {
        return Ok(Reply::json(503, &Readiness { ready: false, draining: true, away: Vec::new() }));
    }
    Ok(readiness([chat.accounts.probe(), chat.chat_rooms.probe(), chat.ledger.probe(), chat.log.probe()]))
}

fn metrics(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    let page = chat.metrics.render();
    let reply = if prometheus::reads_open_metrics(request.header_values("accept")) {
        Reply::new(200, metrics::CONTENT_TYPE, page)
    } else {
        Reply::new(200, prometheus::CONTENT_TYPE, prometheus::from_open_metrics(&page))
    };
    Ok(reply.with("Cache-Control", "no-store").with("Vary", "Accept"))
}

fn readiness(probes: impl IntoIterator<Item = Result<(), StoreError>>) -> Reply {
    static AWAY: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let failed: Vec<_> = probes.into_iter().filter_map(Result::err).collect();
    let away: Vec<_> = failed.iter().map(|error| error.store).collect();
    let before = mem::replace(&mut *AWAY.lock(), away.clone());
    // Asked every few seconds: what has been said of an outage is not said again.
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
    /// The server ends, and still serves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    draining: bool,
    /// The stores that can't be reached. Why is for the log: it may name hosts and users.
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

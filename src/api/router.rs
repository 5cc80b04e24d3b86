//! Finds the endpoint that answers a plain request.
//!
//! A group of endpoints is one file with an `ENDPOINTS` table. To add one, name it in [`PUBLIC`].

use super::{
    chats, chats_page, cors, health, home, hooks, login, rooms,
    route::{Endpoints, Params, Route},
    session, small_page, stream, ticket, v1,
};
use crate::{
    chat::Chat,
    config::doors::DoorName,
    http::{
        head::{Method, WHOLE_SERVER},
        reply::Reply,
        request::Request,
    },
    logging::Access,
    refusal::{Reason, Refusal},
};
use std::{sync::Arc, time::Instant};

/// What is served on `LISTEN`.
const PUBLIC: &[&Endpoints] = &[&home::ENDPOINTS, &rooms::ENDPOINTS, &health::ENDPOINTS];
/// Served there too while their doors are open.
const OF_DOORS: &[(DoorName, &Endpoints)] = &[
    (DoorName::Propromo, &login::ENDPOINTS),
    (DoorName::Tickets, &ticket::ENDPOINTS),
    (DoorName::Tickets, &ticket::TWO_STEP),
    (DoorName::Streams, &stream::ENDPOINTS),
    (DoorName::Rooms, &chats::ENDPOINTS),
];
/// Served beside `/login` if browsers may stay logged in.
const SESSIONS: &[&Endpoints] = &[&session::ENDPOINTS];
/// Served if backends have keys.
const BACKENDS: &[&Endpoints] = &[&v1::ENDPOINTS];
/// Served if GitHub's secret is set.
const HOOKS: &[&Endpoints] = &[&hooks::ENDPOINTS];
/// What is served on `ADMIN_LISTEN`.
const ADMIN: &[&Endpoints] = &[&health::ENDPOINTS, &health::FIGURES];

/// The name in logs and metrics for paths without an endpoint.
const NOWHERE: &str = "none";

/// Every method and pattern that is answered, at any address.
pub fn endpoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_doors = OF_DOORS.iter().map(|(_, endpoints)| endpoints);
    let tables = PUBLIC.iter().chain(of_doors).chain(SESSIONS).chain(BACKENDS).chain(HOOKS).chain(ADMIN);
    let routes = tables.flat_map(|endpoints| endpoints.routes);
    routes.flat_map(|route| route.methods.iter().map(|method| (method.as_str(), route.pattern)))
}

/// Whether the thread that read a request on `LISTEN` answers it.
pub fn is_at_once(method: Method, segments: &[String]) -> bool {
    let of_doors = OF_DOORS.iter().map(|(_, endpoints)| endpoints);
    let tables = PUBLIC.iter().chain(of_doors).chain(BACKENDS).copied();
    let mut routes = tables.flat_map(|endpoints| endpoints.routes).filter(|route| route.at_once);
    routes.any(|route| route.takes(method) && route.params(segments).is_some())
}

/// Answers a request to `LISTEN`.
pub fn handle(chat: &Arc<Chat>, request: Request) -> Reply {
    let backends = if chat.config.api_keys.is_empty() { &[] } else { BACKENDS };
    let hooks = if chat.config.github_webhook_secret.is_some() { HOOKS } else { &[] };
    let doors = chat.config.doors;
    let of_doors = OF_DOORS.iter().filter(|(door, _)| doors.has(*door)).map(|(_, endpoints)| endpoints);
    let stay = !chat.config.sessions.ttl.is_zero() && doors.has(DoorName::Propromo);
    let sessions = if stay { SESSIONS } else { &[] };
    let tables = PUBLIC.iter().chain(of_doors).chain(sessions).chain(backends).chain(hooks).copied();
    let begun = Instant::now();
    let (endpoint, mut reply) = answer(chat, &request, tables);
    cors::permit(&chat.config.origins, request.method, |name| request.header(name), &mut reply);
    if let Some(life) = chat.config.hsts {
        reply = reply.with("Strict-Transport-Security", format!("max-age={}", life.as_secs()));
    }
    let time = begun.elapsed();
    chat.metrics.answered(request.method, endpoint, reply.status, time);
    let (method, status, bytes) = (request.method.as_str(), reply.status, reply.body.len());
    Access { method, endpoint, status, bytes, time, client: request.client }.log(chat.config.access_log);
    reply
}

/// Answers a request to `ADMIN_LISTEN`.
pub fn handle_admin(chat: &Arc<Chat>, request: Request) -> Reply {
    answer(chat, &request, ADMIN.iter().copied()).1
}

/// The pattern of the endpoint that answers, and its answer.
fn answer(
    chat: &Arc<Chat>,
    request: &Request,
    tables: impl Iterator<Item = &'static Endpoints> + Clone,
) -> (&'static str, Reply) {
    if request.path == WHOLE_SERVER {
        return (WHOLE_SERVER, Reply::empty(204).with("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS"));
    }
    let refuse = |refusal: Refusal, endpoint, in_words: fn(Refusal) -> Reply| {
        chat.metrics.refuse(refusal, request.client, endpoint, in_words)
    };
    let refused = || {
        neighbours(&request.segments, tables.clone()).map_or(Reply::from as fn(_) -> _, |endpoints| endpoints.refused)
    };
    match find(request.method, &request.segments, tables.clone()) {
        Found::Endpoint(endpoints, route, params) => {
            let answer = uncompressed(request).and_then(|()| (route.answer)(chat, request, &params));
            (route.pattern, answer.unwrap_or_else(|refusal| refuse(refusal, route.pattern, endpoints.refused)))
        }
        Found::Methods(pattern, methods) => {
            let allow = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
            let reply = if request.method == Method::Options {
                Reply::empty(204)
            } else {
                refuse(Reason::MethodNotAllowed.into(), pattern, refused())
            };
            (pattern, reply.with("Allow", allow))
        }
        Found::Nothing => {
            let reply = refuse(Reason::NotFound.into(), NOWHERE, refused());
            (NOWHERE, if chats_page::preferred(request) { small_page::not_found() } else { reply })
        }
    }
}

/// Refuses a compressed body: no endpoint can decompress it, and each would report another error.
fn uncompressed(request: &Request) -> Result<(), Refusal> {
    let mut codings = request.header_values("content-encoding").flat_map(|value| value.split(','));
    if request.body.is_empty() || codings.all(|coding| coding.trim().eq_ignore_ascii_case("identity")) {
        return Ok(());
    }
    Err(Refusal::new(Reason::UnsupportedMediaType, "The body must be sent without compression."))
}

/// The endpoints whose paths begin like this one: a refusal near them has their form.
fn neighbours(segments: &[String], mut tables: impl Iterator<Item = &'static Endpoints>) -> Option<&'static Endpoints> {
    let first = segments.first()?;
    tables.find(|endpoints| endpoints.routes.iter().any(|route| route.pattern.split('/').nth(1) == Some(first)))
}

enum Found<'a> {
    Endpoint(&'static Endpoints, &'static Route, Params<'a>),
    /// The path has endpoints (the first with this pattern), but only for these methods. Also for OPTIONS.
    Methods(&'static str, Vec<Method>),
    Nothing,
}

fn find<'a>(method: Method, segments: &'a [String], tables: impl Iterator<Item = &'static Endpoints>) -> Found<'a> {
    let mut methods = Vec::new();
    let mut pattern = NOWHERE;
    for endpoints in tables {
        for route in endpoints.routes {
            let Some(params) = route.params(segments) else { continue };
            if route.takes(method) {
                return Found::Endpoint(endpoints, route, params);
            }
            if methods.is_empty() {
                pattern = route.pattern;
            }
            methods.extend(route.methods);
        }
    }
    if methods.is_empty() {
        return Found::Nothing;
    }
    if methods.contains(&Method::Get) {
        methods.push(Method::Head);
    }
    methods.push(Method::Options);
    methods.sort_by_key(|method| *method as u8);
    methods.dedup();
    Found::Methods(pattern, methods)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    static ROOMS: Endpoints = Endpoints {
        routes: &[
            Route::new(&[Method::Get, Method::Post], "/rooms", unasked),
            Route::new(&[Method::Get], "/rooms/all", unasked),
            Route::new(&[Method::Get, Method::Delete], "/rooms/:id", unasked),
            Route::new(&[Method::Post], "/rooms/:id/token/:name", unasked),
        ],
        refused: Reply::from,
    };

    fn unasked(_: &Arc<Chat>, _: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
        unreachable!("these tests only look routes up")
    }

    fn segments(path: &str) -> Vec<String> {
        path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect()
    }

    /// The pattern that answers, or the allowed methods, or `nothing`.
    fn looked_up(method: Method, path: &str) -> String {
        match find(method, &segments(path), [&ROOMS].into_iter()) {
            Found::Endpoint(_, route, _) => route.pattern.to_owned(),
            Found::Methods(_, methods) => methods.into_iter().map(Method::as_str).collect::<Vec<_>>().join(", "),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn the_first_pattern_that_fits_answers() {
        assert_eq!(looked_up(Method::Get, "/rooms"), "/rooms");
        assert_eq!(looked_up(Method::Get, "/rooms/all"), "/rooms/all");
        assert_eq!(looked_up(Method::Get, "/rooms/7"), "/rooms/:id");
        assert_eq!(looked_up(Method::Delete, "/rooms/all"), "/rooms/:id");
    }

    #[test]
    fn names_in_the_pattern_take_their_segments() {
        let path = segments("/rooms/7/token/a");
        let Found::Endpoint(_, _, params) = find(Method::Post, &path, [&ROOMS].into_iter()) else {
            panic!("no endpoint found")
        };
        assert_eq!((params.get("id"), params.get("name")), ("7", "a"));
    }

    #[test]
    fn a_path_that_is_longer_or_shorter_is_another() {
        for path in ["/", "/rooms/7/token", "/rooms/7/token/a/b", "/room"] {
            assert_eq!(looked_up(Method::Post, path), "nothing", "{path}");
        }
    }

    #[test]
    fn head_is_answered_where_get_is() {
        assert_eq!(looked_up(Method::Head, "/rooms/7"), "/rooms/:id");
    }

    #[test]
    fn another_method_is_told_which_ones_there_are() {
        assert_eq!(looked_up(Method::Put, "/rooms"), "GET, HEAD, POST, OPTIONS");
        assert_eq!(looked_up(Method::Get, "/rooms/7/token/a"), "POST, OPTIONS");
    }

    #[test]
    fn options_lists_the_methods_of_all_patterns_that_fit() {
        assert_eq!(looked_up(Method::Options, "/rooms/all"), "GET, HEAD, DELETE, OPTIONS");
    }

    #[test]
    fn a_path_that_is_nowhere_is_refused_in_the_words_of_its_neighbours() {
        let near = |path: &str| neighbours(&segments(path), [&home::ENDPOINTS, &ROOMS].into_iter());
        assert!(near("/rooms/7/token").is_some_and(|endpoints| std::ptr::eq(endpoints, &ROOMS)));
        assert!(near("/room").is_none() && near("/").is_none());
    }

    #[test]
    fn a_compressed_body_is_refused() {
        let sent = |coding: &str, body: &str| {
            let request = Request::bare(Method::Post, "/login").with_body("application/json", body);
            uncompressed(&request.with_header("content-encoding", coding))
        };
        for coding in ["gzip", "identity, br", "Deflate"] {
            assert_eq!(sent(coding, "{}").unwrap_err().reason, Reason::UnsupportedMediaType, "{coding}");
        }
        assert!(sent("Identity", "{}").is_ok() && sent("gzip", "").is_ok());
    }

    #[test]
    fn every_route_can_be_reached() {
        let of_doors: Vec<_> = OF_DOORS.iter().map(|(_, endpoints)| *endpoints).collect();
        for tables in [[PUBLIC, &of_doors, SESSIONS, BACKENDS, HOOKS].concat(), ADMIN.to_vec()] {
            let mut seen = HashSet::new();
            for route in tables.iter().flat_map(|endpoints| endpoints.routes) {
                assert!(route.pattern.starts_with('/') && !route.methods.is_empty(), "{}", route.pattern);
                for method in route.methods {
                    assert!(seen.insert((method.as_str(), route.pattern)), "{} twice", route.pattern);
                }
            }
        }
    }

    #[test]
    fn only_tickets_and_messages_are_at_once() {
        let of_doors = OF_DOORS.iter().map(|(_, endpoints)| endpoints);
        let tables = PUBLIC.iter().chain(of_doors).chain(SESSIONS).chain(BACKENDS).chain(HOOKS).chain(ADMIN);
        let tables = tables.flat_map(|endpoints| endpoints.routes);
        let at_once: Vec<_> = tables.filter(|route| route.at_once).map(|route| route.pattern).collect();
        let messages = "/api/v1/rooms/:room/messages";
        assert_eq!(at_once, ["/ws_ticket", "/token/ws", "/stream", "/stream/:name", messages]);
        assert!(!is_at_once(Method::Get, &segments("/api/v1/rooms/lobby/messages")), "pages are read elsewhere");
        assert!(is_at_once(Method::Post, &segments("/ws_ticket")));
        assert!(!is_at_once(Method::Put, &segments("/ws_ticket")) && !is_at_once(Method::Get, &segments("/auth")));
    }

    #[test]
    fn metrics_are_for_the_admin_address_only() {
        let path = segments("/metrics");
        assert!(matches!(find(Method::Get, &path, PUBLIC.iter().copied()), Found::Nothing));
        assert!(matches!(find(Method::Get, &path, ADMIN.iter().copied()), Found::Endpoint(..)));
    }
}

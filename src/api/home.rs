//! Pages for people: the home page `/`, the protocols at `/docs`, and `/assets/…`.

use super::{
    assets::{self, Prepared, Variant},
    route::{Endpoints, Params, Route},
};
use crate::{
    chat::Chat,
    http::{head::Method, negotiation::weighted, reply::Reply, request::Request},
    refusal::{Reason, Refusal},
};
use std::sync::Arc;

pub const ENDPOINTS: Endpoints = Endpoints {
    routes: &[
        Route::new(&[Method::Get], "/", page),
        Route::new(&[Method::Get], "/assets/:name", asset),
        Route::new(&[Method::Get], "/docs", docs),
        Route::new(&[Method::Get], "/docs/:file", description),
    ],
    refused: Reply::from,
};

fn page(_: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    serve(request, assets::INDEX)
}

fn asset(_: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    serve(request, params.get("name"))
}

fn docs(_: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    serve(request, assets::DOCS)
}

fn description(_: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    let wanted = assets::DESCRIPTIONS.iter().find(|file| file.name == params.get("file")).ok_or(Reason::NotFound)?;
    serve(request, wanted.name)
}

fn serve(request: &Request, name: &str) -> Result<Reply, Refusal> {
    let Prepared { content_type, plain, gzip, .. } = assets::find(name).ok_or(Reason::NotFound)?;
    let gzip = gzip.as_ref().filter(|_| accepts_gzip(request));
    let Variant { etag, bytes } = gzip.unwrap_or(plain);

    let reply = if is_known(request, etag) {
        Reply::empty(304)
    } else {
        let reply = match name {
            assets::INDEX | assets::DOCS => Reply::page(200, bytes.as_slice()),
            assets::WORKER => Reply::new(200, content_type, bytes.as_slice()).with("Service-Worker-Allowed", "/"),
            _ => Reply::new(200, content_type, bytes.as_slice()),
        };
        if gzip.is_some() { reply.with("Content-Encoding", "gzip") } else { reply }
    };
    // Cached, but checked each time: all files change together, with the binary.
    Ok(reply.with("ETag", etag).with("Cache-Control", "no-cache").with("Vary", "Accept-Encoding"))
}

/// Whether the client has what `etag` names (`If-None-Match` with weak comparison, RFC 9110 §13.1.2).
fn is_known(request: &Request, etag: &str) -> bool {
    let mut tags = request.header_values("if-none-match").flat_map(|value| value.split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    })
}

/// Whether the client accepts gzip (`Accept-Encoding`, RFC 9110 §12.5.3); `gzip;q=0` refuses it.
fn accepts_gzip(request: &Request) -> bool {
    let mut wildcard = false;
    for (coding, weight) in weighted(request.header_values("accept-encoding")) {
        match coding {
            coding if coding.eq_ignore_ascii_case("gzip") => return weight > 0.0,
            "*" => wildcard = weight > 0.0,
            _ => {}
        }
    }
    wildcard
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> Request {
        Request::bare(Method::Get, "/")
    }

    fn served(request: &Request) -> Reply {
        serve(request, assets::INDEX).unwrap()
    }

    #[test]
    fn the_page_comes_with_its_policy() {
        let reply = served(&get());
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(reply.header("content-security-policy").is_some());
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let etag = served(&get()).header("etag").unwrap().to_owned();
        for tags in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
            let reply = served(&get().with_header("if-none-match", &tags));
            assert_eq!((reply.status, reply.body.len()), (304, 0), "{tags}");
            assert_eq!(reply.header("etag"), Some(etag.as_str()));
        }
    }

    #[test]
    fn what_has_changed_is_sent() {
        assert_eq!(served(&get().with_header("if-none-match", "\"older\"")).status, 200);
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let reply = served(&get().with_header("accept-encoding", "br, gzip"));
        assert_eq!(reply.header("content-encoding"), Some("gzip"));
        assert_eq!(reply.body[..2], [0x1f, 0x8b]);
        assert_eq!(reply.header("vary"), Some("Accept-Encoding"));
    }

    #[test]
    fn who_takes_gzip_is_read_with_its_weight() {
        for (sent, takes) in [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("br;q=1, *;q=0.1", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(&get().with_header("accept-encoding", sent)), takes, "{sent}");
        }
        assert!(!accepts_gzip(&get()));
    }

    #[test]
    fn there_is_no_other_file() {
        for name in ["../Cargo.toml", "", "index", "INDEX.HTML"] {
            assert_eq!(serve(&get(), name).unwrap_err().reason, Reason::NotFound, "{name}");
        }
    }

    #[test]
    fn every_file_that_the_page_refers_to_is_served() {
        let page = String::from_utf8(served(&get()).body).unwrap();
        let named = page.split('"').filter_map(|text| text.strip_prefix("/assets/")).collect::<Vec<_>>();
        assert!(!named.is_empty());
        for name in named {
            assert!(serve(&get(), name).is_ok(), "{name}");
        }
    }
}

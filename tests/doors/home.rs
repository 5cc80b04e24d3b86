//! The home page and what it loads: whole, from this server only, and safe to show.

use support::{Response, Server, http::get};

#[track_caller]
fn directives(page: &Response) -> Vec<(String, String)> {
    let policy = page.header("content-security-policy").expect("a policy");
    let directive = |text: &str| {
        let (name, sources) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        (name.to_owned(), sources.to_owned())
    };
    policy.split(';').filter(|text| !text.trim().is_empty()).map(directive).collect()
}

/// The values of an attribute, wherever it occurs.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!(" {name}=\"");
    html.split(&opening).skip(1).map(|rest| rest.split('"').next().expect("split gives a first")).collect()
}

#[test]
fn the_page_is_html() {
    let page = Server::start().get("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().to_ascii_lowercase().starts_with("<!doctype html>"));
}

#[test]
fn its_policy_allows_nothing_inline_and_nothing_foreign() {
    let page = Server::start().get("/");
    let directives = directives(&page);
    let sources = |wanted: &str| directives.iter().find(|(name, _)| name == wanted).map(|(_, sources)| &**sources);
    assert!(sources("default-src").is_some(), "{directives:?}");
    for (name, sources) in &directives {
        assert!(!sources.contains("unsafe"), "{name} {sources}");
        assert!(!sources.split(' ').any(|source| source == "*" || source.starts_with("http")), "{name} {sources}");
    }
    assert_eq!(sources("frame-ancestors"), Some("'none'"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn its_markup_keeps_its_own_policy() {
    let page = Server::start().get("/");
    let html = page.text().to_ascii_lowercase();
    assert!(!html.contains(" style="), "a style attribute");
    assert!(!html.contains("<style"), "a style sheet inside the page");
    assert!(!html.contains("javascript:"));
    assert!(!html.contains(" onclick=") && !html.contains(" onload=") && !html.contains(" onsubmit="));
    for script in html.split("<script").skip(1) {
        let (tag, rest) = script.split_once('>').expect("a tag has an end");
        assert!(tag.contains("src=") && rest.starts_with("</script>"), "a script inside the page: <script{tag}>");
    }
}

#[test]
fn everything_it_loads_is_here() {
    let server = Server::start();
    let page = server.get("/");
    let html = page.text();
    let mut loaded = Vec::new();
    for reference in [attributes(html, "src"), attributes(html, "href")].concat() {
        assert!(!reference.contains("//"), "from another server: {reference}");
        if reference.starts_with('#') || reference.starts_with("data:") {
            continue;
        }
        let path = if reference.starts_with('/') { reference.to_owned() } else { format!("/{reference}") };
        let asset = server.get(&path);
        assert_eq!(asset.status, 200, "{reference}");
        assert!(!asset.body.is_empty(), "{reference}");
        let content_type = asset.header("content-type").unwrap_or_else(|| panic!("no type: {reference}"));
        let expected = match path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("css") => "text/css",
            Some("js") => "text/javascript",
            Some("svg") => "image/svg+xml",
            _ => content_type,
        };
        assert!(content_type.starts_with(expected), "{reference}: {content_type}");
        assert_eq!(asset.header("x-content-type-options"), Some("nosniff"));
        loaded.push(path);
    }
    assert!(loaded.iter().any(|path| path.ends_with(".js")), "{loaded:?}");
    assert!(loaded.iter().any(|path| path.ends_with(".css")), "{loaded:?}");
}

#[test]
fn what_a_browser_has_already_is_not_sent_again() {
    let server = Server::start();
    let script = attributes(server.get("/").text(), "src")[0].trim_start_matches('/').to_owned();
    for path in ["/", &format!("/{script}")] {
        let first = server.get(path);
        let tag = first.header("etag").unwrap_or_else(|| panic!("no ETag: {path}"));
        for condition in [tag.to_owned(), format!("\"another\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            let again = server.connect().send(get(path, &[("If-None-Match", &condition)])).response();
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {condition}");
            assert_eq!(again.header("etag"), Some(tag));
        }
        let other = server.connect().send(get(path, &[("If-None-Match", "\"another\"")])).response();
        assert_eq!((other.status, other.body), (200, first.body.clone()));
    }
}

#[test]
fn a_304_leaves_the_connection_usable() {
    let server = Server::start();
    let tag = server.get("/").header("etag").expect("an ETag").to_owned();
    let mut connection = server.connect();
    for _ in 0..3 {
        assert_eq!(connection.send(get("/", &[("If-None-Match", &tag)])).response().status, 304);
        assert_eq!(connection.send(get("/", &[])).response().status, 200);
    }
}

#[test]
fn a_head_request_gets_the_headers_of_the_page_only() {
    let server = Server::start();
    let page = server.get("/");
    let mut connection = server.connect();
    let head = connection.send("HEAD / HTTP/1.1\r\nHost: chat.test\r\n\r\n").response_to_head();
    assert_eq!(head.status, 200);
    for name in ["content-type", "content-length", "etag", "content-security-policy"] {
        assert_eq!(head.header(name), page.header(name), "{name}");
    }
    assert_eq!(connection.send(get("/", &[])).response().body, page.body, "nothing was left in between");
}

#[test]
fn the_page_answers_get_only() {
    let answer = Server::start().post("/", "text/plain", "hello");
    assert_eq!(answer.status, 405);
    assert!(answer.header("allow").is_some_and(|allowed| allowed.contains("GET")), "{:?}", answer.headers);
}

#[test]
fn there_is_no_way_out_of_the_assets() {
    let server = Server::start();
    for path in ["/../Cargo.toml", "/..%2f..%2fetc%2fpasswd", "/assets/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"] {
        assert!(matches!(server.get(path).status, 400 | 404), "{path}");
    }
}

//! A remote chat server over HTTP: its address, its certificate, and its answers.

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use serde_json::Value;
use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};
use ureq::{
    Body,
    http::Response,
    tls::{Certificate, RootCerts, TlsConfig},
};

/// Most bytes of an answer. No answer is longer: the chats of an account have a few hundred bytes each. The bound keeps
/// something that is not a chat server from filling the memory.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub encrypted: bool,
    pub loopback: bool,
    /// Host and perhaps port, as in a URL.
    authority: String,
    /// What precedes every path of ours: empty, or `/…` without a slash at the end.
    prefix: String,
}

impl Address {
    /// Parses a server's address. Without a scheme it is `http` on this machine and `https` elsewhere.
    pub fn parse(text: &str) -> Result<Address, String> {
        let text = text.trim();
        let wrong =
            || "the URL should be a server's, such as http://localhost:1993 or https://chat.example.org".to_owned();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => (String::new(), text),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let unfit = |c: char| c.is_whitespace() || c.is_control();
        if authority.is_empty() || authority.contains('@') || rest.contains(unfit) {
            return Err(wrong());
        }
        let loopback = is_loopback(authority);
        let encrypted = match scheme.as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            "" => !loopback,
            _ => return Err(wrong()),
        };
        let path = path.trim_end_matches('/');
        let prefix = path.strip_suffix("/login").unwrap_or(path).to_owned();
        Ok(Address { encrypted, loopback, authority: authority.to_owned(), prefix })
    }

    /// The URL of one of the server's paths, for requests.
    pub fn http(&self, path: &str) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}{}{path}", self.authority, self.prefix)
    }

    /// The URL of one of the server's paths, for WebSockets.
    pub fn socket(&self, path: &str) -> String {
        let scheme = if self.encrypted { "wss" } else { "ws" };
        format!("{scheme}://{}{}{path}", self.authority, self.prefix)
    }

    /// Whether others can read what is sent there.
    pub fn is_open_to_eavesdroppers(&self) -> bool {
        !self.encrypted && !self.loopback
    }
}

/// A server, and the client for requests to it.
pub struct Remote {
    pub address: Address,
    agent: ureq::Agent,
}

/// A server's answer to a request.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Value,
    url: String,
}

impl Remote {
    pub fn new(address: Address) -> Remote {
        let roots = match TRUSTED.as_slice() {
            [] => RootCerts::WebPki,
            trusted => {
                let trusted: Vec<_> =
                    trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
                RootCerts::Specific(Arc::new(trusted))
            }
        };
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would send the password to a place that nobody chose.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("propromo-chat/", env!("CARGO_PKG_VERSION")));
        if address.loopback {
            config = config.proxy(None);
        }
        Remote { address, agent: ureq::Agent::new_with_config(config.build()) }
    }

    /// Posts JSON. `Err` is a sentence that says why there is no readable answer.
    pub fn post(&self, path: &str, bearer: Option<&str>, body: &Value) -> Result<Answer, String> {
        let url = self.address.http(path);
        let mut request =
            self.agent.post(&url).header("content-type", "application/json").header("accept", "application/json");
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(url, request.send(body.to_string()))
    }

    /// Gets JSON; otherwise like [`Remote::post`].
    pub fn get(&self, path: &str, bearer: &str) -> Result<Answer, String> {
        let url = self.address.http(path);
        let request = self.agent.get(&url).header("accept", "application/json");
        answer(url, request.header("authorization", format!("Bearer {bearer}")).call())
    }
}

fn answer(url: String, response: Result<Response<Body>, ureq::Error>) -> Result<Answer, String> {
    let mut response =
        response.map_err(|e| format!("{url} can't be reached: {e}; is the server running, and the address right?"))?;
    let status = response.status().as_u16();
    if let (300..400, Some(place)) = (status, response.headers().get("location")) {
        let place = String::from_utf8_lossy(place.as_bytes()).escape_debug().to_string();
        return Err(format!("{url} sends us on to {place}; log in there, if you trust it"));
    }
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let text = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_string()
        .map_err(|e| format!("the answer of {url} can't be read: {e}"))?;
    Answer::read(url, status, retry_after.map(Duration::from_secs), &text)
}

impl Answer {
    fn read(url: String, status: u16, retry_after: Option<Duration>, text: &str) -> Result<Answer, String> {
        match serde_json::from_str(text) {
            Ok(body) => Ok(Answer { status, retry_after, body, url }),
            Err(_) => Err(format!("{url} answers {status}, but not as a chat server does; is the address right?")),
        }
    }

    /// The token in the field `name`. `Err` is the server's reason for giving none.
    pub fn token(&self, name: &str) -> Result<&str, String> {
        match self.body[name].as_str() {
            Some(token) if self.status == 200 && token.bytes().all(|b| b.is_ascii_graphic()) => Ok(token),
            _ => Err(self.refusal()),
        }
    }

    /// The server's reason for a refusal, as a sentence.
    pub fn refusal(&self) -> String {
        format!("{} refuses ({}): {}", self.url, self.status, reason(&self.body))
    }
}

/// The sentence in a refusal's body.
pub fn reason(body: &Value) -> String {
    // A server's text must not control the terminal.
    body["message"].as_str().unwrap_or("it gives no reason").replace(char::is_control, " ")
}

/// TLS with the same certificates as the requests above, for WebSockets.
pub fn tls() -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(TRUSTED.iter().cloned()).0 == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The authorities that this machine trusts (or those of `SSL_CERT_FILE`), so that a company's own authority works. If
/// there are none, as in a small container, those that browsers trust are used.
static TRUSTED: LazyLock<Vec<CertificateDer<'static>>> =
    LazyLock::new(|| rustls_native_certs::load_native_certs().certs);

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Option<String> {
        Address::parse(text).ok().map(|address| address.http("/login"))
    }

    fn answer(status: u16, text: &str) -> Result<Answer, String> {
        Answer::read("http://localhost/login".into(), status, None, text)
    }

    #[test]
    fn a_servers_address_may_be_short() {
        for (text, address) in [
            ("http://chat:1993", "http://chat:1993/login"),
            ("https://chat.example.org/", "https://chat.example.org/login"),
            ("https://example.org/chat/login?x=1", "https://example.org/chat/login"),
            ("wss://chat.example.org", "https://chat.example.org/login"),
            ("localhost:1993", "http://localhost:1993/login"),
            ("[::1]:1993", "http://[::1]:1993/login"),
            ("chat.example.org", "https://chat.example.org/login"),
        ] {
            assert_eq!(url(text).as_deref(), Some(address), "{text}");
        }
    }

    #[test]
    fn a_websocket_is_as_encrypted_as_the_requests() {
        let socket = |text| Address::parse(text).map(|address| address.socket("/channel/x"));
        assert_eq!(socket("https://example.org/chat").as_deref(), Ok("wss://example.org/chat/channel/x"));
        assert_eq!(socket("localhost:1993").as_deref(), Ok("ws://localhost:1993/channel/x"));
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["", "http://", "ftp://host", "https://user:pw@host", "a b", "http://host/a\nb"] {
            assert_eq!(url(text), None, "{text}");
        }
    }

    #[test]
    fn the_token_of_an_answer_is_given() {
        let answer = answer(200, r#"{"success":true,"token":"a.b.c"}"#).unwrap();
        assert_eq!(answer.token("token"), Ok("a.b.c"));
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let answer = answer(401, r#"{"success":false,"message":"Email or password\u001b is wrong."}"#).unwrap();
        let error = answer.token("token").unwrap_err();
        assert_eq!(error, "http://localhost/login refuses (401): Email or password  is wrong.");
    }

    #[test]
    fn another_kind_of_server_is_told_apart() {
        assert!(answer(404, "<html>").err().unwrap().contains("not as a chat server does"));
    }

    proptest! {
        #[test]
        fn no_address_panics(text in "\\PC*") {
            let _ = Address::parse(&text);
        }

        #[test]
        fn no_answer_panics(status in 100u16..600, text in "\\PC*") {
            let _ = answer(status, &text).map(|answer| answer.token("token").map(str::to_owned));
        }
    }
}

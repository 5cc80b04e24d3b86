//! What backends do: call `/api/v1` with a key.

use super::{Response, Server, server::Setup};
use serde_json::Value;
use std::net::SocketAddr;

/// The secret of a key that may do everything, and of one that may do nothing but this.
pub const MASTER: &str = "master-0123456789abcdef0123456789abcdef";

/// A key's secret for one scope.
pub fn only(scope: &str) -> String {
    format!("only-{scope}-0123456789abcdef0123456789abcdef")
}

/// `API_KEYS` with [`MASTER`] (`site`), and a key for each scope alone.
pub fn api_keys() -> String {
    let mut lines = format!("site tokens,publish,read,moderate {MASTER}\n");
    for scope in ["tokens", "publish", "read", "moderate"] {
        lines += &format!("{scope}-only {scope} {}\n", only(scope));
    }
    lines
}

impl Server {
    /// A demo server whose API has keys.
    pub fn with_api() -> Setup {
        Server::with().env("API_KEYS", api_keys())
    }

    /// A call with [`MASTER`].
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        call(self.address, MASTER, method, path, body)
    }
}

/// A call with a key.
#[track_caller]
pub fn call(address: SocketAddr, key: &str, method: &str, path: &str, body: Option<Value>) -> Response {
    call_with(address, &[("Authorization", &format!("Bearer {key}"))], method, path, body)
}

/// A call with these headers.
#[track_caller]
pub fn call_with(
    address: SocketAddr,
    headers: &[(&str, &str)],
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Response {
    super::Connection::open(address).send(request(headers, method, path, body)).response()
}

/// The bytes of a call.
pub fn request(headers: &[(&str, &str)], method: &str, path: &str, body: Option<Value>) -> String {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: chat.test\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    match body {
        None => request + "\r\n",
        Some(body) => {
            let body = body.to_string();
            format!("{request}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
    }
}

//! `login`: asks a server for a connection token, over HTTP.

use super::{Failure, account, ask, say};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    net::IpAddr,
    time::Duration,
};

pub const NAME: &str = "login";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Log in at a server and print the connection token, which opens one WebSocket")
        .after_help(
            "Example:\n  propromo-chat login http://localhost:1993 alice@propromo.example\n  \
             echo alice-password | propromo-chat login localhost:1993 alice@propromo.example --password-stdin",
        )
        .arg(Arg::new("url").value_name("URL").required(true).help("The server, such as https://chat.example.org"))
        .arg(Arg::new("email").value_name("EMAIL").required(true).value_parser(account::email))
        .arg(ask::password_stdin())
}

pub fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let server = matches.get_one::<String>("url").map_or("", String::as_str);
    let email = matches.get_one::<String>("email").map_or("", String::as_str);
    let server = Server::parse(server).map_err(Failure::Usage)?;
    if !server.encrypted && !server.loopback {
        let _ = writeln!(io::stderr(), "propromo-chat: careful, the password travels unencrypted over http://");
    }
    let password = ask::password(matches.get_flag("password-stdin"))?;
    say(server.log_in(email, &password).map_err(Failure::Failed)?)
}

/// Where to log in.
#[derive(Debug, PartialEq, Eq)]
pub struct Server {
    /// The whole address of `/login`.
    url: String,
    encrypted: bool,
    loopback: bool,
}

/// No answer is longer: an account's chats, some hundred bytes each.
const MAX_ANSWER: u64 = 1024 * 1024;

impl Server {
    /// Reads a server's address; without a scheme it is `http` on this machine, `https` elsewhere.
    pub fn parse(text: &str) -> Result<Server, String> {
        let text = text.trim();
        let wrong =
            || "the URL should be a server's, such as http://localhost:1993 or https://chat.example.org".to_owned();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => (String::new(), text),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.is_empty() || authority.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control()) {
            return Err(wrong());
        }
        let loopback = is_loopback(authority);
        let encrypted = match scheme.as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            "" => !loopback,
            _ => return Err(wrong()),
        };
        let scheme = if encrypted { "https" } else { "http" };
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix("/login").unwrap_or(path);
        Ok(Server { url: format!("{scheme}://{authority}{path}/login"), encrypted, loopback })
    }

    /// Logs in and gives the connection token, or a sentence that says why not.
    pub fn log_in(&self, email: &str, password: &str) -> Result<String, String> {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would take the password to where nobody asked for it to go.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .user_agent(concat!("propromo-chat/", env!("CARGO_PKG_VERSION")));
        if self.loopback {
            config = config.proxy(None);
        }
        let agent = ureq::Agent::new_with_config(config.build());
        let body = json!({ "email": email, "password": password }).to_string();
        let mut response = agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .send(body)
            .map_err(|e| {
                format!("{} can't be reached: {e}; is the server running, and the address right?", self.url)
            })?;
        let status = response.status().as_u16();
        if let (300..400, Some(place)) = (status, response.headers().get("location")) {
            let place = String::from_utf8_lossy(place.as_bytes()).escape_debug().to_string();
            return Err(format!("{} sends us on to {place}; log in there, if you trust it", self.url));
        }
        let answer = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_string()
            .map_err(|e| format!("the answer of {} can't be read: {e}", self.url))?;
        self.token_in(status, &answer)
    }

    fn token_in(&self, status: u16, answer: &str) -> Result<String, String> {
        let answer: Value = serde_json::from_str(answer).map_err(|_| {
            format!("{} answers {status}, but not as a chat server does; is the address right?", self.url)
        })?;
        if let (200, Some(token)) = (status, answer["token"].as_str())
            && token.bytes().all(|b| b.is_ascii_graphic())
        {
            return Ok(token.to_owned());
        }
        // What a server says must not reach into the terminal.
        let message = answer["message"].as_str().unwrap_or("it gives no reason").replace(char::is_control, " ");
        Err(format!("{} refuses ({status}): {message}", self.url))
    }
}

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
        Server::parse(text).ok().map(|server| server.url)
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
    fn what_is_no_server_is_refused() {
        for text in ["", "http://", "ftp://host", "https://user:pw@host", "a b"] {
            assert_eq!(url(text), None, "{text}");
        }
    }

    #[test]
    fn the_token_of_an_answer_is_given() {
        let server = Server::parse("localhost").unwrap();
        assert_eq!(server.token_in(200, r#"{"success":true,"token":"a.b.c"}"#).as_deref(), Ok("a.b.c"));
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let server = Server::parse("localhost").unwrap();
        let error = server.token_in(401, r#"{"success":false,"message":"Email or password\u001b is wrong."}"#);
        assert_eq!(error.unwrap_err(), "http://localhost/login refuses (401): Email or password  is wrong.");
    }

    #[test]
    fn another_kind_of_server_is_told_apart() {
        let server = Server::parse("localhost").unwrap();
        assert!(server.token_in(404, "<html>").unwrap_err().contains("not as a chat server does"));
    }

    proptest! {
        #[test]
        fn no_address_panics(text in "\\PC*") {
            let _ = Server::parse(&text);
        }

        #[test]
        fn no_answer_panics(status in 100u16..600, answer in "\\PC*") {
            let _ = Server::parse("localhost").unwrap().token_in(status, &answer);
        }
    }
}

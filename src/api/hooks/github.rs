//! `POST /hooks/github/:room`: reports events on GitHub in a room, as `bot:github`.
//!
//! A payload may have 25 MB. [`GithubIntake`] reads it as it arrives: it computes the signature, and picks the few
//! fields that a line needs. Only if the signature is valid, anything reaches the endpoint.

use super::{json_text::Shortened, line::Payload};
use crate::{
    api::{
        route::{Endpoints, Params, Route},
        v1::{
            messages::{self, Said},
            rooms,
        },
    },
    chat::Chat,
    http::{
        head::{Head, Method},
        intake::Intake,
        reply::Reply,
        request::Request,
    },
    refusal::{Reason, Refusal},
};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::{
    io::{self, BufReader, Read},
    sync::Arc,
};

pub const ENDPOINTS: Endpoints =
    Endpoints { routes: &[Route::new(&[Method::Post], "/hooks/github/:room", hear)], refused: Reply::from };

/// Bytes of GitHub's largest payload.
const MAX_PAYLOAD: usize = 25 << 20;

/// Most bytes of the name of an event, and of the id of a delivery.
const MAX_NAME: usize = 100;

/// The name of the bot.
const BOT: &str = "github";

/// The rest of a delivery with a valid signature.
#[derive(Deserialize, Serialize)]
struct Delivery {
    event: String,
    /// The same when GitHub sends the delivery again.
    id: String,
    line: Option<String>,
}

/// Publishes the line once.
fn hear(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    // Written by the intake, which reads this path.
    let delivery: Delivery = serde_json::from_slice(&request.body).map_err(|_| Reason::Internal)?;
    if delivery.event == "ping" {
        return Ok(Reply::json(200, &Heard { said: false }));
    }
    let room = rooms::find(chat, params.get("room"))?;
    let said = delivery.line.is_some();
    if let Some(line) = delivery.line {
        let said = Said { text: line, reference: Some(delivery.id), ..Said::default() };
        messages::say(chat, room, BOT, said)?;
    }
    Ok(Reply::json(202, &Heard { said }))
}

#[derive(Serialize)]
struct Heard {
    said: bool,
}

/// Reads what GitHub sends, and checks that it is signed with the secret.
pub struct GithubIntake {
    secret: String,
}

impl GithubIntake {
    pub fn new(secret: &str) -> GithubIntake {
        GithubIntake { secret: secret.to_owned() }
    }
}

impl Intake for GithubIntake {
    fn takes(&self, method: Method, segments: &[String]) -> bool {
        method == Method::Post && matches!(segments, [hooks, github, _] if hooks == "hooks" && github == "github")
    }

    fn most(&self) -> usize {
        MAX_PAYLOAD
    }

    fn digest(&self, head: &Head, body: &mut dyn Read) -> Result<Vec<u8>, Refusal> {
        let event = named(head, "x-github-event");
        let id = named(head, "x-github-delivery");
        let mut signed = Signed { inner: body, mac: mac(&self.secret)? };
        let payload: Result<Payload, _> = serde_json::from_reader(BufReader::new(Shortened::new(&mut signed)));
        // The signature also covers what follows, and what could not be read.
        let rest = io::copy(&mut signed, &mut io::sink());
        signed.verify(head.header("x-hub-signature-256"))?;
        rest.map_err(|_| Reason::BadRequest)?;
        let (Some(event), Some(id)) = (event, id) else {
            return Err(Refusal::new(Reason::BadRequest, "X-GitHub-Event and X-GitHub-Delivery are required."));
        };
        let payload = payload.map_err(|_| {
            let sentence = "The payload can't be read; let GitHub send it as application/json.";
            Refusal::new(Reason::InvalidFields, sentence).field("body", "is not a JSON object in UTF-8")
        })?;
        let delivery = Delivery { line: payload.line(&event), event, id };
        serde_json::to_vec(&delivery).map_err(|_| Reason::Internal.into())
    }
}

fn named(head: &Head, name: &str) -> Option<String> {
    let value = head.header(name)?;
    let fit = !value.is_empty() && value.len() <= MAX_NAME && value.bytes().all(|b| b.is_ascii_graphic());
    fit.then(|| value.to_owned())
}

fn mac(secret: &str) -> Result<Hmac<Sha256>, Refusal> {
    // HMAC takes keys of any length (RFC 2104 §3).
    Hmac::new_from_slice(secret.as_bytes()).map_err(|_| Reason::Internal.into())
}

/// Computes the signature of what is read.
struct Signed<'a> {
    inner: &'a mut dyn Read,
    mac: Hmac<Sha256>,
}

impl Signed<'_> {
    /// Refuses unless `signature` is the signature of all that was read. Compares in constant time.
    fn verify(self, signature: Option<&str>) -> Result<(), Refusal> {
        let presented = signature.and_then(|text| text.strip_prefix("sha256=")).and_then(from_hex);
        match presented {
            Some(presented) if self.mac.verify_slice(&presented).is_ok() => Ok(()),
            _ => Err(Refusal::new(Reason::WrongCredentials, "X-Hub-Signature-256 does not match this payload.")),
        }
    }
}

impl Read for Signed<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(out)?;
        self.mac.update(&out[..length]);
        Ok(length)
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

//! Errors as clients of the rooms door know them: a number, a text, and the field that is wrong.

use crate::refusal::{Reason, Refusal};
use serde::Serialize;

/// An error, as answers and frames show it.
#[derive(Serialize)]
struct Fault<'a> {
    code: u16,
    error: &'a str,
    field: &'a str,
}

/// The body of a failed answer.
pub fn body(refusal: &Refusal) -> String {
    serde_json::json!({ "status": false, "error": Fault::of(refusal) }).to_string()
}

/// The frame that tells one client that its request was refused.
pub fn frame(refusal: &Refusal) -> String {
    #[derive(Serialize)]
    struct Frame<'a> {
        event_type: &'static str,
        #[serde(flatten)]
        fault: Fault<'a>,
        /// The pages of the original API print these two of every frame.
        name: &'static str,
        msg: &'a str,
    }
    let fault = Fault::of(refusal);
    serde_json::json!(Frame { event_type: "error", name: "", msg: fault.error, fault }).to_string()
}

/// The HTTP status that this door's clients expect for `reason`.
pub fn status(reason: Reason) -> u16 {
    match TokenFault::of(reason) {
        Some(fault) => fault.status(),
        None => reason.status(),
    }
}

/// A refusal about one field, which the answer names.
pub fn about(reason: Reason, field: &'static str) -> Refusal {
    Refusal::from(reason).field(field, reason.sentence())
}

impl<'a> Fault<'a> {
    fn of(refusal: &'a Refusal) -> Fault<'a> {
        let (code, error, usual_field) = match TokenFault::of(refusal.reason) {
            Some(fault) => fault.parts(),
            None => (code(refusal.reason), &*refusal.sentence, ""),
        };
        let field = refusal.detail.first().map_or(usual_field, |(field, _)| field);
        Fault { code, error, field }
    }
}

/// The number of a reason. A reason without a number of its own has that of its HTTP status.
fn code(reason: Reason) -> u16 {
    match reason {
        Reason::RoomNotFound => 101,
        Reason::RoomTitleTaken => 102,
        Reason::RoomUnreadable => 103,
        Reason::RoomProtected => 104,
        Reason::RoomInvalid => 105,
        Reason::NameNotHeld => 201,
        Reason::NameTaken => 202,
        Reason::EventUnreadable => 303,
        Reason::NotYours => 304,
        other => match other.status() {
            // To these clients 401 and 403 mean a wrong token.
            401 | 403 => 304,
            status => status,
        },
    }
}

/// The three ways in which a token can be wrong for these clients.
#[derive(Clone, Copy)]
enum TokenFault {
    Signature,
    Method,
    Token,
}

impl TokenFault {
    fn of(reason: Reason) -> Option<TokenFault> {
        match reason {
            Reason::TokenBadSignature => Some(TokenFault::Signature),
            Reason::TokenWrongAlgorithm => Some(TokenFault::Method),
            Reason::TokenMissing
            | Reason::TokenMalformed
            | Reason::TokenNoExpiry
            | Reason::TokenExpired
            | Reason::TokenNotYetValid
            | Reason::TokenWrongKind
            | Reason::TokenWrongRoom
            | Reason::TokenUsed => Some(TokenFault::Token),
            _ => None,
        }
    }

    fn status(self) -> u16 {
        match self {
            TokenFault::Signature | TokenFault::Method => 401,
            TokenFault::Token => 403,
        }
    }

    fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            TokenFault::Signature => (401, "Token error: Invalid signature", "signature"),
            TokenFault::Method => (402, "Token error: Unauthorized signing method", "signing method"),
            TokenFault::Token => (403, "Token error: Invalid token", "token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(text: String) -> Value {
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn each_error_has_the_number_status_and_text_that_clients_know() {
        let table = [
            (Reason::RoomNotFound, 404, 101, "Room error: Room not found"),
            (Reason::RoomTitleTaken, 400, 102, "Room error: Duplicate room"),
            (Reason::RoomUnreadable, 400, 103, "Room error: Invalid JSON"),
            (Reason::RoomProtected, 401, 104, "Room error: Unauthorized operation"),
            (Reason::RoomInvalid, 400, 105, "Room error: Invalid content"),
            (Reason::EventUnreadable, 400, 303, "Invalid JSON"),
            (Reason::NotYours, 401, 304, "Unauthorized operation"),
            (Reason::TokenBadSignature, 401, 401, "Token error: Invalid signature"),
            (Reason::TokenWrongAlgorithm, 401, 402, "Token error: Unauthorized signing method"),
            (Reason::TokenMissing, 403, 403, "Token error: Invalid token"),
            (Reason::TokenExpired, 403, 403, "Token error: Invalid token"),
            (Reason::TokenWrongRoom, 403, 403, "Token error: Invalid token"),
        ];
        for (reason, http, code, text) in table {
            let body = parsed(body(&reason.into()));
            assert_eq!(status(reason), http, "{reason}");
            assert_eq!((&body["error"]["code"], &body["error"]["error"]), (&json!(code), &json!(text)), "{reason}");
        }
    }

    #[test]
    fn an_answer_names_the_field_that_is_wrong() {
        let body = parsed(body(&about(Reason::RoomInvalid, "visibility")));
        let error = json!({"code": 105, "error": "Room error: Invalid content", "field": "visibility"});
        assert_eq!(body, json!({"status": false, "error": error}));
    }

    #[test]
    fn a_frame_holds_the_same_beside_its_type() {
        let frame = parsed(frame(&about(Reason::NameTaken, "name")));
        let error = "Client error: Duplicate username";
        let expected =
            json!({"event_type": "error", "code": 202, "error": error, "field": "name", "name": "", "msg": error});
        assert_eq!(frame, expected);
    }

    #[test]
    fn what_has_no_number_has_that_of_its_status() {
        let body = parsed(body(&Reason::RateLimited.into()));
        assert_eq!((status(Reason::RateLimited), &body["error"]["code"]), (429, &json!(429)));
    }

    #[test]
    fn only_a_wrong_token_has_the_number_of_one() {
        for reason in Reason::ALL.iter().filter(|reason| !reason.word().starts_with("token_")) {
            let number = parsed(body(&(*reason).into()))["error"]["code"].clone();
            assert!(![401, 402, 403].contains(&number.as_u64().unwrap()), "{reason}");
        }
    }
}

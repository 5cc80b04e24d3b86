//! The JSON objects in the bodies of calls.

use crate::{
    flat_json,
    http::request::Request,
    refusal::{Reason, Refusal},
};
use serde_json::Value;

/// More fields than any call has.
const MAX_FIELDS: usize = 32;

/// The fields of a body, each name at most once. Collects all errors, to report them together.
pub struct Body {
    fields: Vec<(String, Value)>,
    wrong: Vec<(&'static str, &'static str)>,
}

impl Body {
    /// Reads a JSON object, whatever its label. An empty body is an object without fields.
    pub fn read(request: &Request) -> Result<Body, Refusal> {
        let fields = if request.body.is_empty() { Vec::new() } else { object(&request.body)? };
        Ok(Body { fields, wrong: Vec::new() })
    }

    /// A required field: text that is not empty.
    pub fn text(&mut self, name: &'static str) -> String {
        match self.get(name) {
            None => self.complain(name, "is missing"),
            Some(Value::String(text)) if text.is_empty() => self.complain(name, "must not be empty"),
            Some(Value::String(text)) => return text.clone(),
            Some(_) => self.complain(name, "must be text"),
        }
        String::new()
    }

    /// An optional field: text that is not empty.
    pub fn optional_text(&mut self, name: &'static str) -> Option<String> {
        self.get(name)?;
        Some(self.text(name))
    }

    /// A user as a number or an email address: a whole number, or text.
    pub fn user(&mut self, name: &'static str) -> String {
        match self.get(name) {
            Some(Value::Number(number)) if number.as_u64().is_some() => number.to_string(),
            Some(Value::Number(_)) => {
                self.complain(name, "must be the number or the email address of an account");
                String::new()
            }
            _ => self.text(name),
        }
    }

    /// An optional whole number, at least 1.
    pub fn count(&mut self, name: &'static str) -> Option<u64> {
        let value = self.get(name)?;
        // Some languages write whole numbers with a zero fraction.
        let whole = value
            .as_u64()
            .or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && (1.0..9e15).contains(n)).map(|n| n as u64));
        if whole.is_none_or(|n| n == 0) {
            self.complain(name, "must be a whole number from 1");
        }
        whole.filter(|n| *n > 0)
    }

    pub fn complain(&mut self, name: &'static str, what: &'static str) {
        self.wrong.push((name, what));
    }

    /// Refuses if there was any error.
    pub fn checked(self) -> Result<(), Refusal> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        Err(Refusal { detail: self.wrong, ..Reason::InvalidFields.into() })
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }
}

/// Serde's own maps would silently keep the last of two equal names.
fn object(body: &[u8]) -> Result<Vec<(String, Value)>, Refusal> {
    let unreadable = |what| Refusal::new(Reason::InvalidFields, "The body can't be read.").field("body", what);
    let fields = flat_json::fields(body, MAX_FIELDS).map_err(|_| unreadable("is not a JSON object in UTF-8"))?;
    if fields.len() > MAX_FIELDS {
        return Err(unreadable("has too many fields"));
    }
    if fields.iter().enumerate().any(|(i, (name, _))| fields[..i].iter().any(|(n, _)| n == name)) {
        return Err(unreadable("has a field twice"));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Method;

    fn body(json: &str) -> Result<Body, Refusal> {
        Body::read(&Request::bare(Method::Post, "/").with_body("text/plain", json))
    }

    fn complaints(json: &str, read: impl FnOnce(&mut Body)) -> Vec<(&'static str, &'static str)> {
        let mut body = body(json).unwrap();
        read(&mut body);
        body.checked().map_or_else(|refusal| refusal.detail, |()| Vec::new())
    }

    #[test]
    fn what_is_no_object_or_says_a_thing_twice_is_refused() {
        for json in ["[]", "7", "{", r#"{"a":1,"a":2}"#, "{\"a\":\"\u{0}\"}"] {
            assert_eq!(body(json).map(drop).unwrap_err().detail[0].0, "body", "{json}");
        }
        assert!(body("").is_ok() && body(" {} ").is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let found = complaints(r#"{"text":7,"ttl":0,"user":1.5,"room":""}"#, |body| {
            body.text("text");
            body.count("ttl");
            body.user("user");
            body.optional_text("room");
            body.text("kind");
        });
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["text", "ttl", "user", "room", "kind"]);
    }

    #[test]
    fn numbers_may_be_written_with_a_fraction_of_nothing_and_users_as_numbers() {
        let mut read = body(r#"{"ttl":60.0,"user":7,"room":null}"#).unwrap();
        assert_eq!((read.count("ttl"), read.user("user"), read.optional_text("room")), (Some(60), "7".into(), None));
        assert!(read.checked().is_ok());
    }
}

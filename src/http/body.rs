//! The fields of a request body: URL-encoded form, multipart form, or JSON object.
//!
//! A body may hold a password, so errors never repeat any of it.

use super::{multipart, parameters::Parameterized, request::Request};
use crate::{
    flat_json,
    refusal::{Reason, Refusal},
};
use percent_encoding::percent_decode;
use std::borrow::Cow;

/// More fields than any endpoint has; a body with more is malicious or broken.
const MAX_FIELDS: usize = 32;

/// The fields of one body, each name at most once.
pub struct Fields {
    fields: Vec<(String, Value)>,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// Not sent, empty, or `null` in JSON: forms also send what was left blank.
    Absent,
    Text(&'a str),
    /// A JSON number, list and so on; never converted to text.
    NotText,
}

impl Fields {
    /// Decodes the body: as JSON if it is an object, whatever its label, otherwise as its `Content-Type` says.
    ///
    /// Many clients send JSON without a label, or label it as text or as a form (`curl -d '{…}'`); no form begins like
    /// an object. Refuses with `unsupported_media_type` a body that is none of the three or is not UTF-8, and with
    /// `invalid_fields` a body that can't be read or has a name twice.
    pub fn read(request: &Request) -> Result<Fields, Refusal> {
        let body = &request.body;
        Fields::of(match Format::of(request)? {
            Format::Nothing => Pairs::new(),
            Format::UrlEncoded => url_encoded(body)?,
            Format::Multipart { boundary } => {
                let fields = multipart::fields(body, boundary, MAX_FIELDS).map_err(unreadable)?;
                fields.into_iter().map(|(name, text)| (name, Value::Text(text))).collect()
            }
            Format::Json => json(without_mark(body))?,
        })
    }

    /// The query parameters with these names, as text. Refuses a name that is there twice.
    pub fn of_query(request: &Request, names: &[&str]) -> Result<Fields, Refusal> {
        let mut fields = Pairs::new();
        for name in names {
            let values = request.query_values(name)?;
            fields.extend(values.into_iter().map(|value| ((*name).to_owned(), Value::Text(value))));
        }
        Fields::of(fields)
    }

    fn of(fields: Pairs) -> Result<Fields, Refusal> {
        if fields.len() > MAX_FIELDS {
            return Err(unreadable("has too many fields"));
        }
        let repeated = fields.iter().enumerate().any(|(i, (name, _))| fields[..i].iter().any(|(n, _)| n == name));
        if repeated {
            // Two readers of one body might pick different values.
            return Err(unreadable("has a field twice"));
        }
        Ok(Fields { fields })
    }

    pub fn get(&self, name: &str) -> Field<'_> {
        match self.fields.iter().find(|(n, _)| n == name) {
            None | Some((_, Value::Null)) => Field::Absent,
            Some((_, Value::Text(text))) if text.is_empty() => Field::Absent,
            Some((_, Value::Text(text))) => Field::Text(text),
            Some((_, Value::Other)) => Field::NotText,
        }
    }

    /// The first of `names` that has a value: different clients have different names for the same thing.
    pub fn any(&self, names: &[&str]) -> Field<'_> {
        names.iter().map(|name| self.get(name)).find(|field| *field != Field::Absent).unwrap_or(Field::Absent)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Null,
    Other,
}

enum Format {
    Nothing,
    UrlEncoded,
    Multipart { boundary: String },
    Json,
}

impl Format {
    fn of(request: &Request) -> Result<Format, Refusal> {
        if without_mark(&request.body).trim_ascii_start().starts_with(b"{") {
            return Ok(Format::Json);
        }
        let Some(label) = request.header("content-type") else {
            return if request.body.is_empty() {
                Ok(Format::Nothing)
            } else {
                Err(Reason::UnsupportedMediaType.into())
            };
        };
        let label = Parameterized::parse(label).ok_or(Reason::UnsupportedMediaType)?;
        if label.get("charset").is_some_and(|charset| !is_utf_8(charset)) {
            return Err(Refusal::new(Reason::UnsupportedMediaType, "The body must be in UTF-8."));
        }
        match label.value.as_str() {
            "application/json" => Ok(Format::Json),
            "application/x-www-form-urlencoded" => Ok(Format::UrlEncoded),
            "multipart/form-data" => match label.get("boundary") {
                // A boundary has 1 to 70 characters (RFC 2046 §5.1.1).
                Some(boundary) if (1..=70).contains(&boundary.len()) => {
                    Ok(Format::Multipart { boundary: boundary.to_owned() })
                }
                _ => Err(unreadable("has no usable multipart boundary")),
            },
            _ => Err(Reason::UnsupportedMediaType.into()),
        }
    }
}

type Pairs = Vec<(String, Value)>;

/// Whether a charset is UTF-8, by any name in the Encoding Standard (§4.2), or its subset ASCII.
fn is_utf_8(charset: &str) -> bool {
    const NAMES: [&str; 9] = [
        "utf-8",
        "utf8",
        "unicode-1-1-utf-8",
        "unicode11utf8",
        "unicode20utf8",
        "x-unicode20utf8",
        "us-ascii",
        "ascii",
        "ansi_x3.4-1968",
    ];
    NAMES.iter().any(|name| name.eq_ignore_ascii_case(charset.trim_ascii()))
}

/// The body without a byte order mark, which RFC 8259 §8.1 lets a reader ignore.
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// The URL Standard's form parser, except that it refuses what is not UTF-8 instead of replacing it: a password must
/// not match with a character that was never sent.
fn url_encoded(body: &[u8]) -> Result<Pairs, Refusal> {
    body.split(|&b| b == b'&')
        .filter(|pair| !pair.is_empty())
        .take(MAX_FIELDS + 1)
        .map(|pair| {
            let end = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
            let value = pair.get(end + 1..).unwrap_or_default();
            Ok((form_text(&pair[..end])?, Value::Text(form_text(value)?)))
        })
        .collect()
}

fn form_text(encoded: &[u8]) -> Result<String, Refusal> {
    let spaced: Vec<u8> = encoded.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
    percent_decode(&spaced).decode_utf8().map(Cow::into_owned).map_err(|_| unreadable("is not in UTF-8"))
}

/// Keeps both of two fields with one name: [`Fields::of`] refuses them.
fn json(body: &[u8]) -> Result<Pairs, Refusal> {
    let fields = flat_json::fields(body, MAX_FIELDS).map_err(|_| unreadable("is not a JSON object in UTF-8"))?;
    let value = |value| match value {
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Null => Value::Null,
        _ => Value::Other,
    };
    Ok(fields.into_iter().map(|(name, of)| (name, value(of))).collect())
}

fn unreadable(what: &'static str) -> Refusal {
    Refusal::new(Reason::InvalidFields, "The body can't be read.").field("body", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Method;
    use proptest::{collection::btree_map, prelude::*};
    use std::collections::BTreeMap;

    fn read(content_type: &str, body: impl Into<Vec<u8>>) -> Result<Fields, Refusal> {
        Fields::read(&Request::bare(Method::Post, "/login").with_body(content_type, body))
    }

    fn reason(result: Result<Fields, Refusal>) -> Reason {
        result.map(|_| ()).unwrap_err().reason
    }

    fn complaint(result: Result<Fields, Refusal>) -> &'static str {
        result.map(|_| ()).unwrap_err().detail[0].1
    }

    fn multipart_of<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut body = String::new();
        for (name, value) in fields {
            body += &format!("--XYZ\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        body + "--XYZ--\r\n"
    }

    #[test]
    fn a_form_gives_its_fields() {
        let fields = read("application/x-www-form-urlencoded", "email=a%40b.example&password=x+y%26z").unwrap();
        assert_eq!(fields.get("email"), Field::Text("a@b.example"));
        assert_eq!(fields.get("password"), Field::Text("x y&z"));
        assert_eq!(fields.get("monitor_id"), Field::Absent);
    }

    #[test]
    fn multipart_form_data_gives_its_fields() {
        let body = multipart_of([("email", "a@b.example"), ("password", "two\r\nlines")]);
        let fields = read("multipart/form-data; boundary=XYZ", body).unwrap();
        assert_eq!(fields.get("email"), Field::Text("a@b.example"));
        assert_eq!(fields.get("password"), Field::Text("two\r\nlines"));
    }

    #[test]
    fn json_gives_its_fields() {
        let fields = read("application/json", r#"{"email":"a@b.example","monitor_id":null,"n":7}"#).unwrap();
        assert_eq!(fields.get("email"), Field::Text("a@b.example"));
        assert_eq!(fields.get("monitor_id"), Field::Absent);
        assert_eq!(fields.get("n"), Field::NotText);
    }

    #[test]
    fn a_field_left_blank_is_absent() {
        let fields = read("application/x-www-form-urlencoded", "monitor_id=&email").unwrap();
        assert_eq!(fields.get("monitor_id"), Field::Absent);
        assert_eq!(fields.get("email"), Field::Absent);
    }

    #[test]
    fn the_first_name_that_is_there_counts() {
        let fields = read("application/json", r#"{"username":"a","email":"b"}"#).unwrap();
        assert_eq!(fields.any(&["user", "username", "email"]), Field::Text("a"));
    }

    #[test]
    fn the_label_is_read_whatever_its_case_and_parameters() {
        for label in ["APPLICATION/JSON", "application/json;charset=UTF-8", "Application/Json; Charset=\"utf-8\"; x=y"]
        {
            assert!(read(label, "{}").is_ok(), "{label}");
        }
    }

    #[test]
    fn a_body_of_another_type_or_charset_is_415() {
        let form = "application/x-www-form-urlencoded";
        for label in ["text/plain", &format!("{form}; charset=iso-8859-1"), "application/xml", "nonsense", ""] {
            assert_eq!(reason(read(label, "email=a")), Reason::UnsupportedMediaType, "{label}");
        }
    }

    #[test]
    fn utf_8_has_many_names_and_white_space_around_them_means_nothing() {
        for label in ["; charset=utf8", " ; charset=\"UTF-8\"", ";charset=us-ascii;", "; charset=unicode-1-1-utf-8"] {
            let form = read(&format!("application/x-www-form-urlencoded{label}"), "email=a").unwrap();
            assert_eq!(form.get("email"), Field::Text("a"), "{label}");
        }
    }

    #[test]
    fn an_object_is_json_whatever_it_is_called() {
        for label in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x/y; charset=latin1", ""]
        {
            let fields = read(label, " \n{\"email\":\"a\"}").unwrap();
            assert_eq!(fields.get("email"), Field::Text("a"), "{label}");
        }
        assert_eq!(read("application/json", "\u{feff}{\"email\":\"a\"}").unwrap().get("email"), Field::Text("a"));
    }

    #[test]
    fn a_body_without_a_label_is_json_or_415() {
        let mut request = Request::bare(Method::Get, "/auth");
        request.body = br#"{"user":"a"}"#.to_vec();
        assert_eq!(Fields::read(&request).unwrap().get("user"), Field::Text("a"));
        request.body = b"user=a".to_vec();
        assert_eq!(reason(Fields::read(&request)), Reason::UnsupportedMediaType);
    }

    #[test]
    fn no_body_at_all_has_no_fields() {
        let fields = Fields::read(&Request::bare(Method::Post, "/login")).unwrap();
        assert_eq!(fields.get("email"), Field::Absent);
    }

    #[test]
    fn a_name_sent_twice_is_refused_in_every_format() {
        let twice = [
            ("application/x-www-form-urlencoded", "a=1&a=2".to_owned()),
            ("multipart/form-data; boundary=XYZ", multipart_of([("a", "1"), ("a", "2")])),
            ("application/json", r#"{"a":"1","a":"2"}"#.to_owned()),
        ];
        for (label, body) in twice {
            assert_eq!(complaint(read(label, body)), "has a field twice", "{label}");
        }
    }

    #[test]
    fn too_many_fields_are_refused_in_every_format() {
        let names: Vec<String> = (0..=MAX_FIELDS).map(|i| format!("f{i}")).collect();
        let object: BTreeMap<&str, &str> = names.iter().map(|name| (name.as_str(), "")).collect();
        let many = [
            ("application/x-www-form-urlencoded", names.join("=&")),
            ("multipart/form-data; boundary=XYZ", multipart_of(object.clone())),
            ("application/json", serde_json::to_string(&object).unwrap()),
        ];
        for (label, body) in many {
            assert_eq!(complaint(read(label, body)), "has too many fields", "{label}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused_not_replaced() {
        let mut part = multipart_of([("password", "?")]).into_bytes();
        let mark = part.iter().position(|&b| b == b'?').unwrap();
        part[mark] = 0xff;
        let bodies = [
            ("application/x-www-form-urlencoded", b"password=%ff".to_vec()),
            ("application/x-www-form-urlencoded", b"password=\xff".to_vec()),
            ("multipart/form-data; boundary=XYZ", part),
            ("application/json", b"{\"password\":\"\xff\"}".to_vec()),
        ];
        for (label, body) in bodies {
            assert_eq!(reason(read(label, body)), Reason::InvalidFields, "{label}");
        }
    }

    #[test]
    fn a_file_is_refused() {
        let body = "--XYZ\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\nc\r\n--XYZ--\r\n";
        assert!(complaint(read("multipart/form-data; boundary=XYZ", body)).contains("file"));
    }

    #[test]
    fn json_that_is_no_object_is_refused() {
        for body in ["", "[]", "7", "\"email\"", "{", r#"{"a":"b"} x"#, "null"] {
            assert_eq!(reason(read("application/json", body)), Reason::InvalidFields, "{body}");
        }
    }

    #[test]
    fn json_nested_without_end_is_refused() {
        let body = format!(r#"{{"a":{}"#, "[".repeat(60_000));
        assert_eq!(reason(read("application/json", body)), Reason::InvalidFields);
    }

    #[test]
    fn an_unfinished_multipart_body_is_refused() {
        let whole = multipart_of([("email", "a@b.example")]);
        for end in 0..whole.len() - "--\r\n".len() {
            assert!(read("multipart/form-data; boundary=XYZ", &whole[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn an_error_repeats_nothing_of_the_body() {
        let bodies = [
            ("application/json", r#"{"password":"hunter2"#.to_owned()),
            ("application/json", r#""hunter2""#.to_owned()),
            ("application/x-www-form-urlencoded", "password=hunter2&password=hunter2".to_owned()),
            ("multipart/form-data; boundary=XYZ", multipart_of([("a", "hunter2")]).replace("--XYZ--", "")),
        ];
        for (label, body) in bodies {
            let error = read(label, body).map(|_| ()).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{label}");
        }
    }

    proptest! {
        #[test]
        fn what_a_form_encodes_is_what_is_read(sent in btree_map("\\PC{1,8}", "\\PC{1,12}", 0..6)) {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&sent).finish();
            let fields = read("application/x-www-form-urlencoded", body).unwrap();
            for (name, value) in &sent {
                prop_assert_eq!(fields.get(name), Field::Text(value));
            }
        }

        #[test]
        fn what_json_encodes_is_what_is_read(sent in btree_map(".{0,8}", ".{1,12}", 0..6)) {
            let fields = read("application/json", serde_json::to_vec(&sent).unwrap()).unwrap();
            for (name, value) in &sent {
                prop_assert_eq!(fields.get(name), Field::Text(value));
            }
        }

        #[test]
        fn what_multipart_carries_is_what_is_read(sent in btree_map("[a-z_]{1,8}", "[ -~\\n\u{e9}]{1,40}", 1..6)) {
            let body = multipart_of(sent.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let fields = read("multipart/form-data; boundary=XYZ", body).unwrap();
            for (name, value) in &sent {
                prop_assert_eq!(fields.get(name), Field::Text(value));
            }
        }

        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300), label in 0..3) {
            let label =
                ["application/x-www-form-urlencoded", "multipart/form-data; boundary=-", "application/json"][label as usize];
            let _ = read(label, body);
        }

        #[test]
        fn no_near_multipart_body_makes_it_panic(body in "(-|--|\r\n|XYZ|--XYZ|Content-Disposition: form-data; name=a|:| ){0,30}") {
            let _ = read("multipart/form-data; boundary=XYZ", body);
        }
    }
}

//! The fields of a `multipart/form-data` body (RFC 7578).

use super::parameters::Parameterized;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use futures_util::{FutureExt, stream};
use multer::{Constraints, Multipart, SizeLimit, bytes::Bytes};
use std::{convert::Infallible, future::ready};

/// The names and texts of the fields, or what is wrong with the body. Stops after `most` + 1 fields.
///
/// Multer is written for streams that it must wait for. This one is in memory and always ready, so one poll completes
/// each step; if a step would wait, the body ends too early.
pub fn fields(body: &[u8], boundary: String, most: usize) -> Result<Vec<(String, String)>, &'static str> {
    const BROKEN: &str = "is not complete multipart form data";
    let whole = stream::once(ready(Ok::<_, Infallible>(body.to_vec())));
    let size = body.len() as u64;
    let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(size).per_field(size));
    let mut parts = Multipart::with_constraints(whole, boundary, limits);

    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().now_or_never().ok_or(BROKEN)?.map_err(|_| BROKEN)? {
        let header = |name| Some(String::from_utf8_lossy(part.headers().get(name)?.as_bytes()).into_owned());
        let disposition = header("content-disposition").and_then(|text| Parameterized::parse(&text));
        let disposition = disposition.filter(|disposition| disposition.value == "form-data").ok_or(BROKEN)?;
        if disposition.get("filename").or(disposition.get("filename*")).is_some() {
            return Err("holds a file; only text is taken here");
        }
        let name = disposition.get("name").ok_or(BROKEN)?.to_owned();
        let encoding = header("content-transfer-encoding").unwrap_or_default();
        let bytes = part.bytes().now_or_never().ok_or(BROKEN)?.map_err(|_| BROKEN)?;
        let text = String::from_utf8(decoded(bytes, encoding.trim())?).map_err(|_| "is not in UTF-8")?;
        fields.push((name, text));
        if fields.len() > most {
            break;
        }
    }
    Ok(fields)
}

/// Decodes the content of a part (RFC 2045 §6). RFC 7578 §4.7 deprecates encodings, but mail libraries and curl's
/// `;encoder=` still use them.
fn decoded(bytes: Bytes, encoding: &str) -> Result<Vec<u8>, &'static str> {
    match encoding.to_ascii_lowercase().as_str() {
        "" | "7bit" | "8bit" | "binary" => Ok(bytes.into()),
        "base64" => {
            let dense: Vec<u8> = bytes.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            BASE64.decode(dense).map_err(|_| "has a part that is no base64, and says it is")
        }
        "quoted-printable" => quoted_printable(&bytes).ok_or("has a part that is not quoted-printable, and says it is"),
        _ => Err("has a part in a transfer encoding that is not taken here"),
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes quoted-printable (RFC 2045 §6.7). White space at the end of a line stays: no relay adds any to forms.
fn quoted_printable(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'=' {
            decoded.push(byte);
            continue;
        }
        rest = match rest {
            // A soft line break, which only keeps lines short.
            [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => after,
            [high, low, after @ ..] => {
                let digit = |b: u8| char::from(b).to_digit(16);
                decoded.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                after
            }
            _ => return None,
        };
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a single part with these header lines.
    fn text_of(headers: &str, content: &str) -> Result<String, &'static str> {
        let body = format!("--XYZ\r\n{headers}\r\n\r\n{content}\r\n--XYZ--\r\n");
        let fields = fields(body.as_bytes(), "XYZ".to_owned(), 8)?;
        let [(name, text)] = &fields[..] else { panic!("{fields:?}") };
        assert_eq!(name, "email");
        Ok(text.clone())
    }

    const EMAIL: &str = "Content-Disposition: form-data; name=\"email\"";

    #[test]
    fn the_words_of_a_part_have_no_case() {
        for headers in
            [EMAIL, "CONTENT-DISPOSITION: FORM-DATA; NAME=\"email\"", "content-disposition:form-data ;Name=email"]
        {
            assert_eq!(text_of(headers, "a@b.example").unwrap(), "a@b.example", "{headers}");
        }
    }

    #[test]
    fn an_encoded_part_is_decoded() {
        for (encoding, content) in [
            ("base64", "YUBiLmV4YW1wbGU="),
            ("BASE64", "YUBi\r\nLmV4YW1wbGU"),
            ("quoted-printable", "a=40b.=\r\nexample"),
            ("8bit", "a@b.example"),
        ] {
            let headers = format!("{EMAIL}\r\nContent-Transfer-Encoding: {encoding}");
            assert_eq!(text_of(&headers, content).unwrap(), "a@b.example", "{encoding}");
        }
    }

    #[test]
    fn a_part_that_is_not_what_it_says_is_refused() {
        for (encoding, content) in
            [("base64", "a@b"), ("quoted-printable", "a=4"), ("quoted-printable", "=zz"), ("uu", "")]
        {
            assert!(
                text_of(&format!("{EMAIL}\r\nContent-Transfer-Encoding: {encoding}"), content).is_err(),
                "{encoding}"
            );
        }
        assert!(text_of("Content-Disposition: attachment; name=email", "x").is_err());
        assert!(text_of("Content-Disposition: form-data", "x").is_err());
        assert!(text_of("Content-Disposition: form-data; name=email; FILENAME=a", "x").unwrap_err().contains("file"));
    }
}

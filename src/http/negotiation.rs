//! Header fields about credentials, and about what a client accepts.

/// The credentials of `Authorization: Bearer …` (RFC 6750 §2.1). Other schemes carry no token.
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    let credentials = credentials.trim_matches([' ', '\t']);
    // Schemes are case-insensitive (RFC 9110 §11.1).
    (scheme.eq_ignore_ascii_case("bearer") && !credentials.is_empty()).then_some(credentials)
}

/// The members of `Accept` or `Accept-Encoding` with their weights (RFC 9110 §12.4.2). A member whose weight is not a
/// number is left out.
pub fn weighted<'a>(fields: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (&'a str, f32)> {
    fields.flat_map(|field| field.split(',')).filter_map(|member| {
        let mut parts = member.split(';').map(str::trim);
        let name = parts.next()?;
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim_end().eq_ignore_ascii_case("q").then(|| value.trim_start())
        });
        Some((name, weight.map_or(Ok(1.0), str::parse).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_follows_the_scheme() {
        for value in ["Bearer abc.def.ghi", "bearer abc.def.ghi", "BEARER  abc.def.ghi ", "Bearer \tabc.def.ghi\t"] {
            assert_eq!(bearer(value), Some("abc.def.ghi"), "{value}");
        }
        for value in ["", "Basic abc", "Bearer", "Bearer ", "abc.def.ghi"] {
            assert_eq!(bearer(value), None, "{value}");
        }
    }

    #[test]
    fn members_have_their_weights() {
        let read = |field| weighted([field].into_iter()).collect::<Vec<_>>();
        assert_eq!(read("text/html, */*;q=0.1"), [("text/html", 1.0), ("*/*", 0.1)]);
        assert_eq!(read("a/b ; level=1 ; Q = 0.5"), [("a/b", 0.5)]);
        assert_eq!(read("gzip;q=0,br;q=x"), [("gzip", 0.0)], "a weight that is none");
    }
}

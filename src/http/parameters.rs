//! A header's value with parameters, such as `multipart/form-data; boundary=XYZ` (RFC 9110 §5.6.6).

/// A value and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameterized {
    /// In lower case: media types and dispositions are case-insensitive.
    pub value: String,
    /// Names in lower case, values decoded and without quotes.
    parameters: Vec<(String, String)>,
}

impl Parameterized {
    /// Parses a whole header value; `None` if it does not have this form.
    pub fn parse(text: &str) -> Option<Parameterized> {
        let (value, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let value = value.trim_matches(WHITE).to_ascii_lowercase();
        if value.is_empty() || !value.bytes().all(|b| is_token_byte(b) || b == b'/') {
            return None;
        }
        let mut parameters = Vec::new();
        while !rest.is_empty() {
            rest = rest.strip_prefix(';')?.trim_start_matches(WHITE);
            // Empty parameters, between semicolons or at the end, are allowed.
            if rest.is_empty() || rest.starts_with(';') {
                continue;
            }
            let (name, after) = rest.split_once('=')?;
            if name.is_empty() || !name.bytes().all(is_token_byte) {
                return None;
            }
            let (given, after) = parameter_value(after)?;
            parameters.push((name.to_ascii_lowercase(), given));
            rest = after.trim_start_matches(WHITE);
        }
        Some(Parameterized { value, parameters })
    }

    /// The value of the first parameter with this name. `name` is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

const WHITE: [char; 2] = [' ', '\t'];

/// A token or a quoted string, and what follows it.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        // More than token characters are accepted without quotes: browsers quote such values, other programs don't.
        return (!token.contains('"')).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// Whether a byte is a token character (RFC 9110 §5.6.2).
fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Parameterized {
        Parameterized::parse(text).unwrap_or_else(|| panic!("unreadable: {text}"))
    }

    #[test]
    fn white_space_and_case_mean_nothing_around_a_parameter() {
        for text in [
            "application/json;charset=utf-8",
            "application/json ; charset=utf-8",
            " Application/JSON;\tCHARSET=\"utf-8\" ;",
            "application/json;;charset=utf-8",
        ] {
            let parsed = parse(text);
            assert_eq!((parsed.value.as_str(), parsed.get("charset")), ("application/json", Some("utf-8")), "{text}");
        }
    }

    #[test]
    fn a_quoted_value_may_hold_anything() {
        let parsed = parse(r#"form-data; name="a; b=\"c\""; FileName=x"#);
        assert_eq!((parsed.get("name"), parsed.get("filename")), (Some(r#"a; b="c""#), Some("x")));
    }

    #[test]
    fn what_is_none_is_none() {
        for text in ["", ";", "text html", "text/plain; charset", "text/plain; =x", "a; b=\"c", "a; b = c", "a b; c=d"]
        {
            assert_eq!(Parameterized::parse(text), None, "{text}");
        }
    }
}

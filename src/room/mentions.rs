//! Mentions in a text: `@` and the account's name, or `@` and the local part of its email address.

/// The names of an account, in lower case.
pub struct Named(Vec<String>);

impl Named {
    /// The names of the account with this email address and name.
    pub fn of(email: &str, name: Option<&str>) -> Named {
        let local = email.split('@').next().unwrap_or_default();
        let names = [Some(local), name].into_iter().flatten().map(|name| name.trim().to_lowercase());
        Named(names.filter(|name| !name.is_empty()).collect())
    }

    /// Whether the text names the account. There must be no letter, digit or `_` directly before the `@` or after the
    /// name.
    pub fn is_in(&self, text: &str) -> bool {
        // Most texts have no `@`.
        if !text.contains('@') {
            return false;
        }
        let text = text.to_lowercase();
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        text.match_indices('@').any(|(at, _)| {
            let behind = &text[at + 1..];
            let begins = !text[..at].ends_with(in_word);
            let ends = |name: &String| behind.strip_prefix(&**name).is_some_and(|rest| !rest.starts_with(in_word));
            begins && self.0.iter().any(ends)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_the_local_part_of_an_address_are_mentions() {
        let ann = Named::of("ann.lee@example.org", Some("Änn Lee"));
        for text in
            ["@ann.lee", "hi @Ann.Lee!", "(@änn lee)", "@ÄNN LEE, look", "@ann.lee@example.org", "x\n@ann.lee\n"]
        {
            assert!(ann.is_in(text), "{text}");
        }
        for text in ["ann.lee", "@ann", "@ann.leery", "@ann.lee2", "me@ann.lee", "_@ann.lee", "@ ann.lee", "@", ""] {
            assert!(!ann.is_in(text), "{text}");
        }
    }

    #[test]
    fn nobody_without_a_name_is_named_by_an_at_sign() {
        let nobody = Named::of("@example.org", Some("  "));
        assert!(!nobody.is_in("@ someone") && !nobody.is_in("@@"));
    }
}

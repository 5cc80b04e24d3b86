//! Mentions in a text: `@` and the account's name, or `@` and the local part of its email address.

/// How many `@` of a text are looked at: each inbox of a room reads each of its newest messages.
const MOST: usize = 50;

/// The names of an account, in lower case.
pub struct Named(Vec<String>);

impl Named {
    /// The names of the account with this email address and name.
    pub fn of(email: &str, name: Option<&str>) -> Named {
        let local = email.split('@').next().unwrap_or_default();
        let names = [Some(local), name].into_iter().flatten().map(|name| name.trim().chars().flat_map(small).collect());
        Named(names.filter(|name: &String| !name.is_empty()).collect())
    }

    /// Whether the text names the account, at one of its first 50 `@`. There must be no letter, digit or `_` directly before
    /// the `@` or after the name.
    pub fn is_in(&self, text: &str) -> bool {
        text.match_indices('@').take(MOST).any(|(at, _)| {
            !text[..at].ends_with(in_word) && self.0.iter().any(|name| begins_with(&text[at + 1..], name))
        })
    }
}

/// Whether the text, in lower case, begins with this whole name.
fn begins_with(text: &str, name: &str) -> bool {
    let (mut text, mut name) = (text.chars(), name.chars());
    while !name.as_str().is_empty() {
        let Some(letter) = text.next() else { return false };
        if !small(letter).all(|letter| name.next() == Some(letter)) {
            return false;
        }
    }
    !text.as_str().starts_with(in_word)
}

/// A letter in lower case. Both small sigmas are one, since a capital does not tell which it is.
fn small(letter: char) -> impl Iterator<Item = char> {
    letter.to_lowercase().map(|small| if small == 'ς' { 'σ' } else { small })
}

fn in_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
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
    fn a_name_is_the_same_in_any_case() {
        let names = ["Γιώργος", "İnci", "Straße"];
        for (name, text) in names.iter().zip(["@ΓΙΏΡΓΟΣ!", "@İNCI", "@strAße."]) {
            assert!(Named::of("x@example.org", Some(name)).is_in(text), "{text}");
        }
    }

    #[test]
    fn a_text_full_of_at_signs_is_not_looked_through() {
        let ann = Named::of("ann@example.org", None);
        assert!(ann.is_in(&format!("{}@ann", "@ ".repeat(MOST - 1))));
        assert!(!ann.is_in(&format!("{}@ann", "@ ".repeat(MOST))));
    }

    #[test]
    fn nobody_without_a_name_is_named_by_an_at_sign() {
        let nobody = Named::of("@example.org", Some("  "));
        assert!(!nobody.is_in("@ someone") && !nobody.is_in("@@"));
    }
}

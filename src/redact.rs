//! Passwords in URLs, left out of what is shown.

/// Whether a URL carries a password, in its authority (RFC 3986 §3.2.1) or as a parameter.
pub fn has_password(url: &str) -> bool {
    without_password(url) != url
}

/// The URL with `***` where its password stands.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // A password that holds an unescaped `/` or `?` must not slip through: the last `@` ends it.
    let (user_info, host) = rest.rsplit_once('@').map_or((None, rest), |(user_info, host)| (Some(user_info), host));
    let user_info = user_info.map(|user_info| match user_info.split_once(':') {
        Some((user, password)) if !password.is_empty() => format!("{user}:***@"),
        _ => format!("{user_info}@"),
    });
    let host = match host.split_once('?') {
        None => host.to_owned(),
        Some((host, query)) => {
            let parts = query.split('&').map(|part| match part.split_once('=') {
                Some((name, value)) if name.to_ascii_lowercase().contains("pass") && !value.is_empty() => {
                    format!("{name}=***")
                }
                _ => part.to_owned(),
            });
            format!("{host}?{}", parts.collect::<Vec<_>>().join("&"))
        }
    };
    format!("{scheme}://{}{host}", user_info.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://chat:s3:c@r/et@db/chat", "postgres://chat:***@db/chat"),
            ("redis://:pw@h", "redis://:***@h"),
            ("postgres://db/chat?user=a&password=b", "postgres://db/chat?user=a&password=***"),
            ("postgres://chat@db/chat", "postgres://chat@db/chat"),
            ("sqlite:data/chat.db", "sqlite:data/chat.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_shown(text in "\\PC*") {
            let _ = without_password(&text);
        }

        #[test]
        fn a_password_never_shows(password in "[a-z0-9:/?&=@]{8,20}") {
            let url = format!("redis://user:{password}@host:6379/0");
            prop_assert!(!without_password(&url).contains(&password));
        }
    }
}

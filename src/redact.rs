//! Removes passwords from URLs before they are shown.

/// Whether a URL has a password, in its authority (RFC 3986 §3.2.1) or in a parameter.
pub fn has_password(url: &str) -> bool {
    without_password(url) != url
}

/// The URL with `***` in place of its password.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // An `@` after a `?` means that one of them belongs to a password, and nobody knows how much of the text does.
    if rest.split_once('?').is_some_and(|(_, behind)| behind.contains('@')) {
        return format!("{scheme}://***");
    }
    // A password with an unescaped `/` must not get through: the last `@` ends it.
    let (user_info, host) = rest.rsplit_once('@').map_or((None, rest), |(user_info, host)| (Some(user_info), host));
    // A text without a colon may be a password whose colon was left out; only for PostgreSQL is a user alone usual.
    let of_postgres = scheme.to_ascii_lowercase().starts_with("postgres");
    let user_info = user_info.map(|user_info| match user_info.split_once(':') {
        Some((user, "")) if of_postgres => format!("{user}:@"),
        Some((user, _)) if !user.contains('/') => format!("{user}:***@"),
        None if of_postgres || user_info.is_empty() => format!("{user_info}@"),
        _ => "***@".to_owned(),
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
            ("redis://s3cret@h", "redis://***@h"),
            ("rediss+sentinel://s3cret@a,b/name", "rediss+sentinel://***@a,b/name"),
            ("redis://:pa?ss@h", "redis://***"),
            ("redis://h?pass=a@b", "redis://***"),
            ("redis://h:6379/0", "redis://h:6379/0"),
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
            for url in [
                format!("redis://user:{password}@host:6379/0"),
                format!("redis://{password}@host:6379/0"),
                format!("postgres://user:{password}@host/db"),
                format!("redis://host/0?pass={}", password.replace('&', "")),
            ] {
                // A password that begins like a user and a colon can't be told from a user and a password.
                let password = password.rsplit([':', '&', '=']).next().unwrap_or_default();
                let shown = without_password(&url);
                prop_assert!(password.len() < 5 || !shown.contains(password), "{}", shown);
            }
        }
    }
}

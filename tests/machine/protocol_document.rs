//! `docs/PROTOCOL.md` says all that the code can say.

use propromo_chat::facade::described::{Reason, settings};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(root().join("docs/PROTOCOL.md")).expect("docs/PROTOCOL.md can be read")
}

/// Every source file's text, without its tests.
fn sources() -> Vec<String> {
    fn collect(folder: PathBuf, texts: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(path, texts);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(path).expect("a source file");
                texts.push(text.split("#[cfg(test)]\nmod tests {").next().expect("a first part").to_owned());
            }
        }
    }
    let mut texts = Vec::new();
    collect(root().join("src"), &mut texts);
    texts
}

/// What stands between `before` and the next quote, wherever that is in the sources.
fn quoted_after(before: &str) -> Vec<String> {
    let texts = sources();
    let found =
        texts.iter().flat_map(|text| text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap_or_default()));
    found.map(str::to_owned).collect()
}

#[test]
fn every_reason_stands_in_the_table_with_its_status() {
    let document = document();
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.word(), reason.status());
        assert!(document.contains(&row), "no row {row}");
    }
}

#[test]
fn every_reason_for_a_close_is_mentioned() {
    let document = document();
    let mut reasons = quoted_after("reason: \"");
    reasons.extend(quoted_after("Close::policy(\""));
    reasons.extend(quoted_after("AUTH_DEADLINE: &str = \""));
    assert!(reasons.len() > 10, "only {reasons:?} were found");
    for reason in reasons.iter().filter(|reason| !reason.is_empty()) {
        assert!(document.contains(&format!("`{reason}`")), "nothing about the reason {reason:?}");
    }
}

#[test]
fn every_error_code_of_the_channel_protocol_is_mentioned() {
    let document = document();
    let mut codes = quoted_after("code: \"");
    codes.extend(["reload", "unavailable", "rate_limited"].map(str::to_owned));
    assert!(codes.contains(&"bad_frame".to_owned()), "{codes:?}");
    for code in codes {
        assert!(document.contains(&format!("| `{code}` |")), "nothing about the code {code}");
    }
}

#[test]
fn every_setting_it_names_is_one() {
    let known: Vec<_> = settings::ALL.iter().flat_map(|setting| setting.names()).collect();
    let document = document();
    let named = document.split('`').skip(1).step_by(2).map(|word| word.split('=').next().unwrap_or(word));
    let is_setting = |word: &&str| word.contains('_') && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let unknown: Vec<_> = named.filter(is_setting).filter(|word| !known.contains(word)).collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

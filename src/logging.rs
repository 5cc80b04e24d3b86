//! Logs: `tracing` to standard error, for people or as JSON. Never a token, a password or a message's text.

use std::{
    io::{self, IsTerminal},
    panic, thread,
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt::time::SystemTime};

/// What `LOG_FORMAT` may be.
pub const FORMATS: &[&str] = &["text", "json"];

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Starts logging, once a process; a second call changes nothing.
///
/// `level` and `format` are `LOG_LEVEL` and `LOG_FORMAT`, found right by [`check_level`] and [`FORMATS`].
pub fn start(level: &str, format: &str) {
    let filter = filter(level).unwrap_or_else(|_| EnvFilter::default().add_directive(LevelFilter::INFO.into()));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Told to report its own failures, it panics when standard error is closed.
        .log_internal_errors(false)
        // RFC 3339, in UTC.
        .with_timer(SystemTime)
        .with_ansi(format == "text" && io::stderr().is_terminal());
    let started = match format {
        "json" => tracing::subscriber::set_global_default(
            subscriber.json().flatten_event(true).with_current_span(true).with_span_list(false).finish(),
        ),
        _ => tracing::subscriber::set_global_default(subscriber.finish()),
    };
    if started.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
}

/// Finds out whether `LOG_LEVEL` can be read, and what it should be if not.
pub fn check_level(text: &str) -> Result<(), String> {
    filter(text).map(drop)
}

/// A level alone is ours; the crates below us then speak up only to warn.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let text = text.trim();
    let expected = || "error, warn, info, debug, trace or a filter such as info,propromo_chat::door=debug".to_owned();
    let level = text.to_ascii_lowercase();
    let directives = match level.as_str() {
        "off" | "error" | "warn" => level,
        "info" | "debug" | "trace" => format!("warn,propromo_chat={level}"),
        // EnvFilter would take a misspelt level for the name of a crate, and log that one alone.
        _ if !names_a_level(&level) => return Err(expected()),
        _ => text.to_owned(),
    };
    EnvFilter::builder().with_regex(false).parse(directives).map_err(|_| expected())
}

fn names_a_level(text: &str) -> bool {
    text.split(',').all(|directive| LEVELS.contains(&directive.rsplit('=').next().unwrap_or(directive).trim()))
}

/// Logs a panic as an error, instead of as text of its own format.
///
/// A message that was put together at run time may quote what a client sent, so only literal ones are shown.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message not shown)");
    tracing::error!(place, thread = thread::current().name().unwrap_or("unnamed"), "a thread panicked: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_level_alone_keeps_other_crates_quiet() {
        assert_eq!(filter("DEBUG").unwrap().to_string(), "propromo_chat=debug,warn");
        assert_eq!(filter("error").unwrap().to_string(), "error");
    }

    #[test]
    fn a_filter_is_taken_as_it_is() {
        assert_eq!(filter("info,tiny_http=debug").unwrap().to_string(), "tiny_http=debug,info");
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for text in ["inof", "propromo_chat", "info,door", "propromo_chat=loud", "", "[", "info,,"] {
            assert!(check_level(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\PC|[=,:\\[\\]{}]|info|debug){0,12}") {
            let _ = check_level(&text);
        }
    }
}

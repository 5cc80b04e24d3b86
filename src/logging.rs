//! Logs: `tracing` to standard error, for people or as JSON. Never a token, a password or a message's text.

use crate::request_id::RequestId;
use std::{
    fmt,
    io::{self, IsTerminal},
    net::IpAddr,
    panic, thread,
    time::Duration,
};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    filter::LevelFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, JsonFields, Writer},
        time::SystemTime,
    },
    registry::LookupSpan,
};

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
        .log_internal_errors(false);
    // RFC 3339, in UTC.
    let line = format::format().with_timer(SystemTime);
    let started = match format {
        "json" => {
            let inner = line.json().flatten_event(true).with_current_span(false).with_span_list(false);
            let line = WithRequest { inner, insert: json_request };
            tracing::subscriber::set_global_default(
                subscriber.fmt_fields(JsonFields::new()).event_format(line).finish(),
            )
        }
        _ => {
            let inner = line.with_ansi(io::stderr().is_terminal());
            let line = WithRequest { inner, insert: text_request };
            tracing::subscriber::set_global_default(subscriber.event_format(line).finish())
        }
    };
    if started.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
}

/// Lines of another format, with the id of the request that the thread deals with.
struct WithRequest<F> {
    inner: F,
    /// Puts the id into a line, which ends with a line feed.
    insert: fn(&mut String, &RequestId),
}

impl<S, N, F> FormatEvent<S, N> for WithRequest<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(request) = RequestId::current() else { return self.inner.format_event(context, out, event) };
        let mut line = String::with_capacity(256);
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        (self.insert)(&mut line, &request);
        out.write_str(&line)
    }
}

fn text_request(line: &mut String, request: &RequestId) {
    let end = line.trim_end_matches('\n').len();
    line.insert_str(end, &format!(" request={}", request.as_str()));
}

/// What is in an id needs no escape in JSON.
fn json_request(line: &mut String, request: &RequestId) {
    if let Some(end) = line.rfind('}') {
        line.insert_str(end, &format!(",\"request\":\"{}\"", request.as_str()));
    }
}

/// One request or handshake that was answered.
pub struct Access<'a> {
    pub method: &'static str,
    /// Its pattern, or the name of its door: what stands in paths and queries may be secret.
    pub endpoint: &'a str,
    pub status: u16,
    /// Of the answer's body.
    pub bytes: usize,
    pub time: Duration,
    pub client: IpAddr,
}

impl Access<'_> {
    /// Writes its line, at `info` if `ACCESS_LOG` says so.
    pub fn log(&self, at_info: bool) {
        let Access { method, endpoint, status, bytes, time, client } = self;
        let seconds = time.as_secs_f64();
        if at_info {
            tracing::info!(method, endpoint, status, bytes, seconds, %client, "answered");
        } else {
            tracing::debug!(method, endpoint, status, bytes, seconds, %client, "answered");
        }
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

    #[test]
    fn the_request_stands_at_the_end_of_a_line() {
        let request = RequestId::passed_on("5f3a-1");
        let mut text = String::from("INFO refused reason=\"x}\"\n");
        text_request(&mut text, &request);
        assert_eq!(text, "INFO refused reason=\"x}\" request=5f3a-1\n");
        let mut json = String::from("{\"message\":\"refused }\"}\n");
        json_request(&mut json, &request);
        assert_eq!(json, "{\"message\":\"refused }\",\"request\":\"5f3a-1\"}\n");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\PC|[=,:\\[\\]{}]|info|debug){0,12}") {
            let _ = check_level(&text);
        }
    }
}

//! The text format of Prometheus, version 0.0.4, for scrapers and tools that do not ask for OpenMetrics.
//!
//! The two formats differ only in descriptors. Here those of counters and infos have the suffix of their samples, there
//! are no `UNIT` and no `EOF`, and an info is a gauge.

use std::fmt::Write;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Rewrites a page of OpenMetrics. Its descriptors must be in the order `HELP`, `TYPE`, `UNIT`.
pub fn from_open_metrics(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        let Some(descriptor) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let mut words = descriptor.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("HELP"), Some(_), Some(sentence)) => help = Some(sentence),
            (Some("TYPE"), Some(family), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    _ => ("", kind),
                };
                if let Some(sentence) = help.take() {
                    let _ = writeln!(text, "# HELP {family}{suffix} {sentence}");
                }
                let _ = writeln!(text, "# TYPE {family}{suffix} {kind}");
            }
            _ => {}
        }
    }
    text
}

/// Whether a scraper with these `Accept` fields reads OpenMetrics: it says so, or it sends no such field.
pub fn reads_open_metrics<'a>(accept: impl IntoIterator<Item = &'a str>) -> bool {
    let mut accept = accept.into_iter().peekable();
    accept.peek().is_none() || accept.any(|field| field.contains("application/openmetrics-text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_carry_the_suffix_of_their_samples() {
        let page = "# HELP a_b Counts.\n# TYPE a_b counter\na_b_total{x=\"# y\"} 3\n# HELP c_seconds Time.\n\
                    # TYPE c_seconds histogram\n# UNIT c_seconds seconds\nc_seconds_sum 1.0\n\
                    # HELP d Version.\n# TYPE d info\nd_info{version=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_b_total Counts.\n# TYPE a_b_total counter\na_b_total{x=\"# y\"} 3\n# HELP c_seconds Time.\n\
                    # TYPE c_seconds histogram\nc_seconds_sum 1.0\n\
                    # HELP d_info Version.\n# TYPE d_info gauge\nd_info{version=\"1\"} 1\n";
        assert_eq!(from_open_metrics(page), text);
    }

    #[test]
    fn open_metrics_goes_to_those_who_ask_for_it_and_those_who_ask_for_nothing() {
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert!(reads_open_metrics([]) && reads_open_metrics([prometheus]));
        assert!(!reads_open_metrics(["*/*"]) && !reads_open_metrics(["text/plain"]));
    }
}

//! Log lines on standard error.

use bugstream_telemetry::{Format, Options, names, propagation, start};
use serde_json::Value;
use tracing::info_span;

use crate::alone::alone;
use crate::options;

/// Our own lines: the harness writes there as well.
fn objects(stderr: &str) -> Vec<Value> {
    stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[test]
fn a_json_line_names_its_trace() {
    let stderr = alone("log::a_json_line_names_its_trace", || {
        let telemetry = start(Options {
            format: Format::Json,
            ..options()
        })
        .expect("it starts");
        tracing::info!(attempt = 1, "no span");
        let span = info_span!(names::span::DOWNLOAD, issue = "o/r/1");
        let trace = propagation::trace_id(&span);
        span.in_scope(|| tracing::info!(expected = trace, "in a span"));
        telemetry.shutdown();
    });
    let Some(stderr) = stderr else { return };
    let lines = objects(&stderr);
    assert_eq!(lines.len(), 2, "{stderr}");
    assert_eq!(
        (&lines[0]["message"], &lines[0]["attempt"]),
        (&"no span".into(), &1.into())
    );
    assert_eq!(lines[0].get("trace_id"), None);
    assert_eq!(lines[1]["trace_id"], lines[1]["expected"]);
    assert_eq!(lines[1]["trace_id"].as_str().map(str::len), Some(32));
    assert_eq!(lines[1]["span_id"].as_str().map(str::len), Some(16));
    assert_eq!(lines[1]["span"]["issue"], "o/r/1");
}

#[test]
fn text_has_no_colour_off_a_terminal_and_obeys_the_filter() {
    let stderr = alone("log::text_has_no_colour_off_a_terminal_and_obeys_the_filter", || {
        let telemetry = start(Options {
            filter: Some("warn".to_owned()),
            ..options()
        })
        .expect("it starts");
        tracing::info!("not shown");
        tracing::warn!(issue = "o/r/1", "shown");
        telemetry.shutdown();
    });
    let Some(stderr) = stderr else { return };
    assert!(stderr.contains("shown issue=\"o/r/1\""), "{stderr}");
    assert!(!stderr.contains("not shown"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
}

#[test]
fn a_collector_that_is_away_is_a_line_and_not_a_failure() {
    let stderr = alone("log::a_collector_that_is_away_is_a_line_and_not_a_failure", || {
        let telemetry = start(Options {
            // Nobody listens on port 1. One that was let go might be another test's a moment later.
            otlp_endpoint: Some("http://127.0.0.1:1".to_owned()),
            ..options()
        })
        .expect("it starts");
        drop(info_span!(names::span::STORE).entered());
        telemetry.shutdown();
    });
    let Some(stderr) = stderr else { return };
    assert!(stderr.contains("network error"), "{stderr}");
}

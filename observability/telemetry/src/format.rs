//! JSON log lines that name the trace they belong to, so that a log and a trace can be read side by side.

use std::fmt;

use opentelemetry::trace::TraceContextExt as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

/// The usual JSON line with `trace_id` and `span_id` added at its end.
///
/// Both come from the thread's current trace context and not from the log's own spans: a filter that hides a
/// span from the log must not hide its ids.
pub(crate) struct JsonWithTrace(Format<Json>);

impl JsonWithTrace {
    /// Event fields lie at the top level, beside `message`, where log stores look for them.
    pub(crate) fn new() -> Self {
        Self(
            tracing_subscriber::fmt::format()
                .json()
                .flatten_event(true)
                .with_span_list(false),
        )
    }
}

impl<S> FormatEvent<S, JsonFields> for JsonWithTrace
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        let Some(object) = line.trim_end().strip_suffix('}') else {
            return writer.write_str(&line);
        };
        writer.write_str(object)?;
        write_ids(&mut writer)?;
        writer.write_str("}\n")
    }
}

fn write_ids(writer: &mut Writer<'_>) -> fmt::Result {
    let context = opentelemetry::Context::current();
    let span = context.span();
    let ids = span.span_context();
    if !ids.is_valid() {
        return Ok(());
    }
    write!(
        writer,
        r#","trace_id":"{}","span_id":"{}""#,
        ids.trace_id(),
        ids.span_id()
    )
}

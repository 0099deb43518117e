//! What a command found or did, for people and for programs.

use std::time::Duration;

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::cli::Output;

/// The result of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    human: String,
    json: Value,
    exit_code: u8,
}

impl Report {
    /// A result in both forms; `human` without a newline at its end.
    pub(crate) fn new(human: String, json: Value) -> Self {
        let exit_code = 0;
        Self { human, json, exit_code }
    }

    /// The same as a result that is not as one would wish: exit code 1.
    pub(crate) fn that_differs(self) -> Self {
        Self { exit_code: 1, ..self }
    }

    /// 0, or 1 for a comparison that found a difference.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// A command that has nothing to say.
    pub(crate) fn nothing() -> Self {
        Self::new(String::new(), Value::Object(serde_json::Map::new()))
    }

    /// What was shown already: only its exit code is left to tell.
    pub(crate) fn shown(self) -> Self {
        Self {
            human: String::new(),
            json: Value::Null,
            ..self
        }
    }

    /// The text for standard output: lines for people, or one line of JSON.
    #[must_use]
    pub fn render(&self, output: Output) -> String {
        match output {
            Output::Human if self.human.is_empty() => String::new(),
            Output::Human => format!("{}\n", self.human),
            Output::Json if self.json.is_null() => String::new(),
            Output::Json => format!("{}\n", self.json),
        }
    }
}

/// A number as people read it: `198,412`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 issue`, `1,234 issues`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// A size as people say it: `812 B`, `1.2 MB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", thousands(bytes / unit), bytes % unit / (unit / 10)),
        None => format!("{bytes} B"),
    }
}

/// A length of time as people say it: `14 s`, `3 min`, `4 h 10 min`, `6 days`. Rounded down.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    let past_the_hour = minutes % 60;
    if hours >= 48 {
        format!("{} days", hours / 24)
    } else if hours >= 10 || hours > 0 && past_the_hour == 0 {
        format!("{hours} h")
    } else if hours > 0 {
        format!("{hours} h {past_the_hour} min")
    } else if minutes > 0 {
        format!("{minutes} min")
    } else {
        format!("{seconds} s")
    }
}

/// A length of time in hours, for what takes many: `50.1 h`, `1,234 h`.
pub(crate) fn hours(time: Duration) -> String {
    let tenths = time.as_secs().div_ceil(360);
    let whole = thousands(tenths / 10);
    if tenths < 1_000 {
        format!("{whole}.{} h", tenths % 10)
    } else {
        format!("{whole} h")
    }
}

/// How long ago a time was; nothing lies in the future, whatever the clocks say.
pub(crate) fn since(at: OffsetDateTime, now: OffsetDateTime) -> Duration {
    Duration::try_from(now - at).unwrap_or_default()
}

/// A time in UTC, in whole seconds.
pub(crate) fn time_of(at: OffsetDateTime) -> String {
    let whole = at.to_offset(UtcOffset::UTC).replace_nanosecond(0).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_else(|_| whole.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        let table = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (198_412, "198,412"),
            (1_000_000, "1,000,000"),
        ];
        for (number, text) in table {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(
            (counted(1, "issue"), counted(2, "issue")),
            ("1 issue".into(), "2 issues".into())
        );
    }

    #[test]
    fn sizes_are_said_in_the_unit_that_fits() {
        let sizes = [812, 1_000, 1_249_999, 3_000_000_000_000].map(size);
        assert_eq!(sizes, ["812 B", "1.0 kB", "1.2 MB", "3,000.0 GB"]);
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let table = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (15_000, "4 h 10 min"),
            (100_000, "27 h"),
            (600_000, "6 days"),
        ];
        for (seconds, text) in table {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        let in_hours = [0, 360, 361, 359_640, 360_000, 4_000_000].map(|s| hours(Duration::from_secs(s)));
        assert_eq!(in_hours, ["0.0 h", "0.1 h", "0.2 h", "99.9 h", "100 h", "1,111 h"]);
    }

    #[test]
    fn programs_get_one_line_and_people_get_none_for_nothing() {
        assert_eq!(Report::nothing().render(Output::Human), "");
        assert_eq!(Report::nothing().render(Output::Json), "{}\n");
    }
}

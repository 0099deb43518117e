//! What a command found or did, for people and for programs.

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

    /// The text for standard output: lines for people, or one line of JSON.
    #[must_use]
    pub fn render(&self, output: Output) -> String {
        match output {
            Output::Human if self.human.is_empty() => String::new(),
            Output::Human => format!("{}\n", self.human),
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
    fn programs_get_one_line_and_people_get_none_for_nothing() {
        assert_eq!(Report::nothing().render(Output::Human), "");
        assert_eq!(Report::nothing().render(Output::Json), "{}\n");
    }
}

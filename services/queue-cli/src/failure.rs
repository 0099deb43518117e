//! Why a command did not do what it was asked, and what to do about it: one line each.

use std::fmt;

use bugstream_kit::config::ConfigError;

/// Exit code of a command that could not do it: a server is away, or refuses.
const FAILED: u8 = 1;
/// Exit code of a command line or a configuration that cannot be used.
const WRONG_USE: u8 = 2;

/// Prints as `error: <problem>` with the fix on a second, indented line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    problem: String,
    fix: Option<String>,
}

impl Failure {
    /// A command line that cannot be used.
    pub(crate) fn usage(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            code: WRONG_USE,
            problem: problem.into(),
            fix: Some(fix.into()),
        }
    }

    /// What was well asked and could not be done.
    pub(crate) fn failed(problem: impl Into<String>) -> Self {
        Self {
            code: FAILED,
            problem: problem.into(),
            fix: None,
        }
    }

    /// What to do about it.
    pub(crate) fn with_fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }

    /// What is wrong, one line, without the fix.
    pub(crate) fn problem(&self) -> &str {
        &self.problem
    }

    /// 1 for what could not be done, 2 for a command line or configuration that cannot be used.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.problem)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  {fix}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.problem, error.fix)
    }
}

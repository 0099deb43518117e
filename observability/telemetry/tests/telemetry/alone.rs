//! A process for each test.

use std::process::Command;

/// Set in the process that runs a body, to the name of its test.
const ALONE: &str = "BUGSTREAM_TELEMETRY_TEST_ALONE";

/// Runs `body` in a process of its own: this test binary once more, for the one test that is `name` (with its
/// module, as the harness prints it). Returns what that process wrote to standard error; the process that ran
/// the body gets `None`, and its test ends there.
///
/// # Panics
/// When the body panicked, or when no test has that name.
pub(crate) fn alone(name: &str, body: impl FnOnce()) -> Option<String> {
    if std::env::var(ALONE).is_ok_and(|running| running == name) {
        body();
        return None;
    }
    let output = Command::new(std::env::current_exe().expect("this test binary has a path"))
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, name)
        .output()
        .expect("this test binary can be started again");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "no test is called {name}: {stdout}");
    Some(stderr.into_owned())
}

//! Where a command writes, and how it shows that long work goes on.
//!
//! On a terminal one line is drawn over and over; elsewhere a line is written every ten seconds, so that the log of a
//! scheduled job shows progress too and short work shows nothing.

use std::io::{IsTerminal, Stderr, Stdout, Write};
use std::time::{Duration, Instant};

use crate::cli::Output;
use crate::failure::Failure;
use crate::report::{Report, thousands};

/// Between two drawings of the line on a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// Between two lines elsewhere.
const LINE: Duration = Duration::from_secs(10);

/// Has a terminal cut what is too long for it: a line that wraps could not be drawn over.
const CUT: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Standard output and standard error of one run.
pub struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
    err: &'a mut (dyn Write + Send),
    /// Whether standard error is one.
    terminal: bool,
    /// Whether standard output is one.
    paged: bool,
}

impl<'a> Screen<'a> {
    /// A screen that is no terminal, for tests and programs.
    pub fn plain(out: &'a mut (dyn Write + Send), err: &'a mut (dyn Write + Send)) -> Self {
        Self {
            out,
            err,
            terminal: false,
            paged: false,
        }
    }

    /// This process's own.
    pub(crate) fn terminal(out: &'a mut Stdout, err: &'a mut Stderr) -> Self {
        let (terminal, paged) = (err.is_terminal(), out.is_terminal());
        Self {
            out,
            err,
            terminal,
            paged,
        }
    }

    /// Progress on this screen.
    pub fn progress(&mut self) -> Progress<'_> {
        Progress {
            out: self.out,
            paged: self.paged,
            output: Output::Human,
            err: self.err,
            every: if self.terminal { REDRAW } else { LINE },
            terminal: self.terminal,
            begin: Instant::now(),
            shown: Instant::now(),
            drawn: false,
            total: None,
            done: "queued",
        }
    }

    /// Writes a result to where it belongs, and returns the exit code.
    pub(crate) fn finish(&mut self, result: Result<(String, u8), Failure>) -> u8 {
        let result = result.and_then(|(text, code)| {
            let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
            written.map_err(no_output)?;
            Ok(code)
        });
        match result {
            Ok(code) => code,
            Err(failure) => {
                // With standard error gone too there is no one left to tell; the exit code tells it.
                let _ = writeln!(self.err, "{failure}");
                failure.exit_code()
            }
        }
    }
}

/// Shows how far a command is.
pub struct Progress<'a> {
    out: &'a mut (dyn Write + Send),
    paged: bool,
    output: Output,
    err: &'a mut (dyn Write + Send),
    every: Duration,
    terminal: bool,
    begin: Instant,
    shown: Instant,
    drawn: bool,
    total: Option<u64>,
    /// What becomes of each.
    done: &'static str,
}

impl Progress<'_> {
    /// Says how much there is to do.
    pub(crate) fn expect(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// Says what is done with each, where that is not queueing.
    pub(crate) fn doing(&mut self, done: &'static str) {
        self.done = done;
    }

    /// Says in which form results are shown.
    pub(crate) fn writing(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Shows a result that another will follow: in place of the one before on a terminal, else below it.
    ///
    /// # Errors
    /// [`Failure`] if there is no one left to read it.
    pub(crate) fn page(&mut self, report: &Report) -> Result<(), Failure> {
        let top = if self.paged { "\x1b[H\x1b[J" } else { "" };
        let written = write!(self.out, "{top}{}", report.render(self.output));
        written.and_then(|()| self.out.flush()).map_err(no_output)
    }

    /// Shows that `done` are done, if it is time to show something.
    pub(crate) fn step(&mut self, done: u64) {
        if self.shown.elapsed() >= self.every {
            let line = line(done, self.done, self.total, self.begin.elapsed());
            self.show(&line);
        }
    }

    /// Shows a line, if it is time to show something.
    pub(crate) fn tell(&mut self, line: &str) {
        if self.shown.elapsed() >= self.every {
            self.show(line);
        }
    }

    /// Shows a line now: something that one waits for.
    pub(crate) fn show(&mut self, line: &str) {
        self.shown = Instant::now();
        // Progress is a courtesy: a closed standard error does not stop the work.
        let _ = if self.terminal {
            self.drawn = true;
            write!(self.err, "\r{CUT}  {line}\x1b[K{WRAP}").and_then(|()| self.err.flush())
        } else {
            writeln!(self.err, "  {line}")
        };
    }

    /// Takes the line away again.
    pub(crate) fn clear(&mut self) {
        if self.drawn {
            self.drawn = false;
            let _ = write!(self.err, "\r\x1b[K").and_then(|()| self.err.flush());
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn no_output(error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot write to standard output: {error}"))
}

fn line(done: u64, how: &str, total: Option<u64>, elapsed: Duration) -> String {
    let Some(total) = total else {
        return format!("{} {how}", thousands(done));
    };
    let so_far = format!("{} of {} {how}", thousands(done), thousands(total));
    if done == 0 || elapsed < Duration::from_secs(1) {
        return so_far;
    }
    #[expect(clippy::cast_precision_loss, reason = "a guess in whole seconds")]
    let left = elapsed.mul_f64(total.saturating_sub(done) as f64 / done as f64);
    format!("{so_far} · {} s left", thousands(left.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_long() {
        let table = [
            (line(1_234, "queued", None, Duration::from_secs(5)), "1,234 queued"),
            (line(0, "queued", Some(10), Duration::from_secs(5)), "0 of 10 queued"),
            (
                line(50_000, "compared", Some(200_000), Duration::from_secs(5)),
                "50,000 of 200,000 compared · 15 s left",
            ),
            (
                line(5, "queued", Some(10), Duration::from_millis(500)),
                "5 of 10 queued",
            ),
        ];
        for (found, wanted) in table {
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn short_work_shows_nothing_and_a_terminal_is_left_clean() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen::plain(&mut out, &mut err);
        let mut progress = screen.progress();
        // However long this thread stands still meanwhile.
        progress.shown += 100 * LINE;
        progress.step(1);
        progress.clear();
        screen.terminal = true;
        let mut progress = screen.progress();
        progress.show("waiting");
        progress.clear();
        assert_eq!(
            String::from_utf8(err).unwrap(),
            "\r\x1b[?7l  waiting\x1b[K\x1b[?7h\r\x1b[K"
        );
    }
}

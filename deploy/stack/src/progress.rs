//! What a person sees while parts are obtained and started: one line a part, on standard error.
//!
//! On a terminal the lines are redrawn in place; elsewhere (CI, a pipe) a line is printed when what a part does
//! changes, and every ten seconds while it only counts up. It knows nothing of what the parts are.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a mere change of numbers stays unsaid where lines cannot be redrawn.
const QUIET: Duration = Duration::from_secs(10);

/// The lines of all parts. Clones show the same lines.
#[derive(Debug, Clone)]
pub struct Board(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    rows: Vec<Row>,
    redraw: bool,
    drawn: usize,
}

#[derive(Debug)]
struct Row {
    name: String,
    doing: String,
    detail: String,
    said: Option<Instant>,
}

/// One line of a [`Board`].
#[derive(Debug, Clone)]
pub struct Part {
    board: Board,
    index: usize,
}

impl Default for Board {
    fn default() -> Self {
        let redraw = std::io::stderr().is_terminal();
        Self(Arc::new(Mutex::new(Lines {
            rows: Vec::new(),
            redraw,
            drawn: 0,
        })))
    }
}

impl Board {
    /// Adds a line for a part, which stays empty until it says something.
    #[must_use]
    pub fn part(&self, name: &str) -> Part {
        let mut lines = self.lock();
        lines.rows.push(Row {
            name: name.to_owned(),
            doing: String::new(),
            detail: String::new(),
            said: None,
        });
        Part {
            board: self.clone(),
            index: lines.rows.len() - 1,
        }
    }

    /// Prints a line of its own above the parts.
    pub fn note(&self, text: &str) {
        self.lock().note(text);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        // A panic elsewhere must not silence the progress that tells about it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Says what the part does now (`downloading`, `ready`) and how far it is.
    pub fn say(&self, doing: &str, detail: &str) {
        self.board.lock().say(self.index, doing, detail);
    }

    /// Says how many bytes of an expected total have arrived.
    pub fn bytes(&self, doing: &str, done: u64, total: u64) {
        let (done_mb, total_mb) = (megabytes(done.min(total)), megabytes(total));
        self.say(doing, &format!("{done_mb:>4} / {total_mb} MB  {}", bar(done, total)));
    }
}

impl Lines {
    fn say(&mut self, index: usize, doing: &str, detail: &str) {
        let Some(row) = self.rows.get_mut(index) else { return };
        let changed = row.doing != doing;
        doing.clone_into(&mut row.doing);
        detail.clone_into(&mut row.detail);
        if self.redraw {
            self.draw();
        } else if changed || row.said.is_none_or(|said| said.elapsed() >= QUIET) {
            row.said = Some(Instant::now());
            let line = row.line();
            write_out(&format!("{line}\n"));
        }
    }

    fn note(&mut self, text: &str) {
        if self.redraw && self.drawn > 0 {
            write_out(&format!("\x1b[{}A\x1b[J{text}\n", self.drawn));
            self.drawn = 0;
            self.draw();
        } else {
            write_out(&format!("{text}\n"));
        }
    }

    fn draw(&mut self) {
        let mut out = if self.drawn > 0 {
            format!("\x1b[{}A", self.drawn)
        } else {
            String::new()
        };
        let said: Vec<&Row> = self.rows.iter().filter(|row| !row.doing.is_empty()).collect();
        for row in &said {
            out.push_str(&format!("\x1b[2K{}\n", row.line()));
        }
        self.drawn = said.len();
        // A line that is too long is cut, not wrapped: it would take two rows, and the next drawing starts too low.
        write_out(&format!("\x1b[?7l{out}\x1b[?7h"));
    }
}

impl Row {
    fn line(&self) -> String {
        format!("  {:<24}  {:<12} {}", self.name, self.doing, self.detail)
            .trim_end()
            .to_owned()
    }
}

fn write_out(text: &str) {
    // Progress that nobody can read any more is no reason to stop.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 20;
    let full = (done.min(total) * WIDTH).checked_div(total).unwrap_or(0);
    (0..WIDTH).map(|cell| if cell < full { '━' } else { '·' }).collect()
}

/// Whole megabytes (of 10^6 bytes, as downloads are counted).
#[must_use]
pub fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_empty_half_and_full_and_never_longer() {
        assert_eq!(bar(0, 100).matches('━').count(), 0);
        assert_eq!(bar(50, 100).matches('━').count(), 10);
        assert_eq!(bar(500, 100).matches('━').count(), 20);
        assert_eq!(bar(1, 0).chars().count(), 20);
    }
}

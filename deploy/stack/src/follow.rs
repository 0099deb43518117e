//! Showing what the services do while `cargo stack up` stays in the foreground.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use bugstream_stack::interrupt;

use crate::checkout::log;
use crate::services::SERVICES;
use crate::stack::Stack;

/// How often the logs are looked at.
const POLL: Duration = Duration::from_millis(200);

/// Prints new lines of the services' logs, each with the service's name, until Ctrl-C or until nothing runs any more.
pub(crate) fn until_interrupted(stack: &Stack) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "Ctrl-C stops everything; what was mirrored is kept").context("cannot print")?;
    let mut logs: Vec<Log> = SERVICES.into_iter().map(Log::at_its_end).collect();
    let mut alive: Vec<&str> = stack
        .state
        .running
        .iter()
        .map(|running| running.part.as_str())
        .collect();
    while !interrupt::requested() && !alive.is_empty() {
        for line in logs.iter_mut().flat_map(Log::new_lines) {
            writeln!(out, "{line}").context("cannot print")?;
        }
        for ended in ended(&mut alive, stack) {
            writeln!(out, "{ended} has ended; cargo stack up --detach starts what is missing")
                .context("cannot print")?;
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Takes out of `alive` what has ended. (A part that another command started anew is followed by its log only.)
fn ended<'a>(alive: &mut Vec<&'a str>, stack: &Stack) -> Vec<&'a str> {
    let (still, ended) = alive.iter().partition(|part| stack.state.alive(part).is_some());
    *alive = still;
    ended
}

struct Log {
    name: &'static str,
    path: PathBuf,
    position: u64,
    unfinished: String,
}

impl Log {
    fn at_its_end(name: &'static str) -> Self {
        let path = log(name);
        let position = path.metadata().map_or(0, |meta| meta.len());
        Self {
            name,
            path,
            position,
            unfinished: String::new(),
        }
    }

    /// Whole lines that were added since the last look. A log that cannot be read has none.
    fn new_lines(&mut self) -> Vec<String> {
        let added = self.added().unwrap_or_default();
        self.position += added.len() as u64;
        self.unfinished.push_str(&String::from_utf8_lossy(&added));
        let Some(end) = self.unfinished.rfind('\n') else {
            return Vec::new();
        };
        let rest = self.unfinished.split_off(end + 1);
        let lines = self
            .unfinished
            .lines()
            .map(|line| format!("{:<16} | {line}", self.name))
            .collect();
        self.unfinished = rest;
        lines
    }

    fn added(&self) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_once_and_only_when_they_are_whole() {
        let path = std::env::temp_dir().join(format!("bugstream-follow-{}.log", std::process::id()));
        std::fs::write(&path, "old\n").expect("written");
        let mut log = Log {
            name: "indexer",
            path: path.clone(),
            position: 4,
            unfinished: String::new(),
        };
        std::fs::write(&path, "old\none\ntw").expect("written");
        assert_eq!(log.new_lines(), ["indexer          | one"]);
        std::fs::write(&path, "old\none\ntwo\n").expect("written");
        assert_eq!(log.new_lines(), ["indexer          | two"]);
        assert!(log.new_lines().is_empty());
        std::fs::remove_file(&path).expect("removed");
    }
}

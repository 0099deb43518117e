//! Shows how far a rebuild or a roll-back is, and ends it when the person goes away.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bugstream_indexer::rebuild::{Progress as Step, RebuildError};

use crate::deps::Deps;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::{span, thousands};

/// Between two looks at what is away.
const AGAIN: Duration = Duration::from_millis(500);

/// What the library tells its progress.
pub(super) type Tell<'a> = &'a (dyn Fn(Step) + Sync);

/// Does the work. Ctrl-C ends it in order, a second one at once.
pub(super) async fn watched<T>(
    work: impl AsyncFnOnce(Tell<'_>) -> Result<T, RebuildError>,
    deps: &Deps,
    progress: &mut Progress<'_>,
) -> Result<Result<T, RebuildError>, Failure> {
    let mut interrupt = Interrupt::listen()?;
    let shown = Mutex::new(Shown::new(progress));
    let shown = || shown.lock().unwrap_or_else(PoisonError::into_inner);
    let tell = |step| shown().step(step);
    let mut working = Box::pin(work(&tell));
    loop {
        tokio::select! {
            ended = &mut working => return Ok(ended),
            () = interrupt.comes() => break,
            why = away(deps) => shown().waits(why),
        }
    }
    deps.context().stop.soft();
    tokio::select! {
        ended = working => Ok(ended),
        () = interrupt.comes() => Ok(Err(RebuildError::Stopped)),
    }
}

/// Why it does not get on, a moment from now.
async fn away(deps: &Deps) -> Option<String> {
    tokio::time::sleep(AGAIN).await;
    deps.context().health.away().await.into_values().next()
}

struct Shown<'a, 'b> {
    progress: &'a mut Progress<'b>,
    /// When the first event was counted.
    begin: Option<Instant>,
    why: Option<String>,
    /// Something that is to be seen at once.
    news: bool,
}

impl<'a, 'b> Shown<'a, 'b> {
    fn new(progress: &'a mut Progress<'b>) -> Self {
        Self {
            progress,
            begin: None,
            why: None,
            news: true,
        }
    }

    fn waits(&mut self, why: Option<String>) {
        self.news |= self.why != why;
        self.why = why;
    }

    fn step(&mut self, step: Step) {
        let mut line = line(step, self.begin.get_or_insert_with(Instant::now).elapsed());
        if let Some(why) = &self.why {
            line = format!("{line} · waits: {why}");
        }
        let counts = matches!(step, Step::Replaying { .. });
        if counts && !std::mem::take(&mut self.news) {
            self.progress.tell(&line);
        } else {
            self.progress.show(&line);
        }
    }
}

/// `41,000 of 198,412 events · 812 a second · 3 min left`
fn line(step: Step, elapsed: Duration) -> String {
    let (done, left) = match step {
        Step::Replaying { done, left } => (done, left),
        Step::HandingOver => return "handing over: live indexing is paused for a moment".to_owned(),
        Step::Following => return "following: what came meanwhile is looked at once more".to_owned(),
    };
    let so_far = format!("{} of {} events", thousands(done), thousands(done + left));
    if done == 0 || elapsed < Duration::from_secs(1) {
        return so_far;
    }
    #[expect(clippy::cast_precision_loss, reason = "a guess in whole seconds")]
    let (rate, time) = (
        done as f64 / elapsed.as_secs_f64(),
        elapsed.mul_f64(left as f64 / done as f64),
    );
    format!("{so_far} · {rate:.0} a second · {} left", span(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_fast_and_how_long() {
        let after = |done, left, seconds| line(Step::Replaying { done, left }, Duration::from_secs(seconds));
        assert_eq!(after(0, 198_412, 9), "0 of 198,412 events");
        assert_eq!(after(5, 15, 0), "5 of 20 events");
        assert_eq!(
            after(40_000, 160_000, 50),
            "40,000 of 200,000 events · 800 a second · 3 min left"
        );
        assert!(line(Step::HandingOver, Duration::ZERO).starts_with("handing over"));
    }
}

//! How far, how fast and how long.

use std::time::Duration;

use crate::report::{span, thousands};

/// `41,000 of 198,412 written · 812 a second · 3 min left`
pub(crate) fn line(done: u64, total: Option<u64>, what: &str, elapsed: Duration) -> String {
    let mut line = thousands(done);
    if let Some(total) = total {
        line += &format!(" of {}", thousands(total));
    }
    line += &format!(" {what}");
    if done == 0 || elapsed < Duration::from_secs(1) {
        return line;
    }
    #[expect(clippy::cast_precision_loss, reason = "a guess in whole seconds")]
    let rate = done as f64 / elapsed.as_secs_f64();
    line += &format!(" · {rate:.0} a second");
    if let Some(total) = total {
        #[expect(clippy::cast_precision_loss, reason = "a guess in whole seconds")]
        let left = elapsed.mul_f64(total.saturating_sub(done) as f64 / done as f64);
        line += &format!(" · {} left", span(left));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_fast_and_how_long() {
        let after = |done, total, seconds| line(done, total, "written", Duration::from_secs(seconds));
        assert_eq!(after(0, Some(198_412), 9), "0 of 198,412 written");
        assert_eq!(after(5, None, 0), "5 written");
        assert_eq!(after(9_000, None, 9), "9,000 written · 1000 a second");
        assert_eq!(
            after(40_000, Some(200_000), 50),
            "40,000 of 200,000 written · 800 a second · 3 min left"
        );
    }
}

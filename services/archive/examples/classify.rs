//! What an issue costs before anything is sent: reading its JSON, deciding sides, making its documents. Beside that, what
//! serde_json takes to find the same bytes well-formed and do nothing with them, since that is what cannot be saved.
//!
//!     cargo run --release -p bugstream-archive --example classify -- FOLDER [ROUNDS]
//!
//! The folder holds `<number>/issue.json` and `<number>/timeline.json`, as the archive serves and snapshots keep them. Times
//! are of one thread and the best of all rounds, in microseconds an issue.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bugstream_archive::{Archived, Classified, Rules, Stamp};
use bugstream_proto::RepoName;
use serde_json::value::RawValue;

type Error = Box<dyn std::error::Error>;

struct Input {
    number: u64,
    issue: Vec<u8>,
    timeline: Vec<u8>,
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let rounds = arguments.next().map_or(Ok(30), |rounds| rounds.parse())?;
    let inputs = read(Path::new(&folder))?;
    let repository: RepoName = "bugstream-demo/web-bugs".parse()?;
    let rules = Rules {
        private_partner: Some("bugstream-demo/web-bugs-private".parse()?),
        repository,
        public: [].into(),
    };
    let mut best = [Duration::MAX; 4];
    for _ in 0..rounds {
        let times = round(&inputs, &rules)?;
        best = std::array::from_fn(|step| best[step].min(times[step]));
    }
    report(&inputs, best);
    Ok(())
}

fn read(folder: &Path) -> Result<Vec<Input>, Error> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        inputs.push(Input {
            number: path
                .file_name()
                .and_then(|name| name.to_str())
                .ok_or("no name")?
                .parse()?,
            issue: std::fs::read(path.join("issue.json"))?,
            timeline: std::fs::read(path.join("timeline.json"))?,
        });
    }
    Ok(inputs)
}

/// The times of each step over all issues.
fn round(inputs: &[Input], rules: &Rules) -> Result<[Duration; 4], Error> {
    let (mut times, mut out) = ([Duration::ZERO; 4], Vec::new());
    for input in inputs {
        let begin = Instant::now();
        black_box(serde_json::from_slice::<&RawValue>(&input.issue)?);
        black_box(serde_json::from_slice::<&RawValue>(&input.timeline)?);
        let validated = Instant::now();
        let archived = Archived::parse(&input.issue, &input.timeline)?;
        let parsed = Instant::now();
        let classified = archived.classify(rules);
        let judged = Instant::now();
        out.clear();
        render(&archived, &classified, rules, input.number, &mut out)?;
        let spans = [validated - begin, parsed - validated, judged - parsed, judged.elapsed()];
        times = std::array::from_fn(|step| times[step] + spans[step]);
    }
    Ok(times)
}

fn render(
    archived: &Archived<'_>,
    classified: &Classified,
    rules: &Rules,
    number: u64,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let stamp = Stamp {
        issue: &rules.repository.issue(number)?,
        revision: 1_772_593_567_089,
        downloaded_at: time::macros::datetime!(2026-03-04 05:06:07.089 UTC),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        aside: None,
    };
    archived.issue_document(classified, &stamp, out);
    for position in 0..archived.timeline().len() {
        archived.timeline_document(classified, position, &stamp, out);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is what this program is for")]
fn report(inputs: &[Input], best: [Duration; 4]) {
    let bytes: usize = inputs
        .iter()
        .map(|input| input.issue.len() + input.timeline.len())
        .sum();
    let [validate, parse, classify, render] = best.map(|time| time.as_secs_f64() * 1e6 / inputs.len() as f64);
    let own = parse + classify + render;
    let report = serde_json::json!({
        "issues": inputs.len(),
        "bytes_per_issue": bytes / inputs.len(),
        "serde_json_us": validate,
        "parse_us": parse,
        "classify_us": classify,
        "render_us": render,
        "own_us": own,
        "ratio": own / validate,
    });
    println!("{report:#}");
}

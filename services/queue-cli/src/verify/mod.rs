//! `verify`: compares the log, the object store and Elasticsearch, and GitHub if asked, and reports every difference.
//!
//! For every issue of the log: its newest event is read, both objects against size and hash, the documents that their
//! JSON demands are computed and compared with all that is visible of the issue, on either side of the wall. Then every
//! visible document is walked over by its id, for those that no issue accounts for. Objects that no newest event names
//! are no difference (older revisions are kept), except those of deleted issues.
//!
//! Invariants:
//! - It shares no code with the archive library, the downloader and the indexer: what they get wrong must show here.
//! - Memory is bounded: a few issues at a time, pages of documents, and the numbers of the issues that the log knows.
//! - Without `--repair` nothing is changed. Findings quote no content.
//!
//! What it is not: a judge of what is on its way. While requests wait, or events are being indexed, it reports what they
//! will put right; `queue-cli length` says whether any wait.
//!
//! One file a step: `issue` compares one issue with what is `expected` where (`wall`, `place`), `strays` walks over ids,
//! `github` compares with GitHub, `repair` puts right, `findings` reports.

mod elastic;
mod expected;
mod findings;
mod github;
mod issue;
mod place;
mod repair;
mod strays;
mod wall;

use bugstream_kit::config::{Elasticsearch, ObjectStore, Repository};
use bugstream_kit::log::Log;
use bugstream_kit::objects::Objects;
use bugstream_kit::requests::Requests;
use bugstream_proto::{IssueId, v1};
use futures_util::{StreamExt as _, stream};
use time::OffsetDateTime;

pub use findings::{Difference, Findings, Kind};

use crate::cli::Verify;
use crate::deps::Deps;
use crate::failure::Failure;
use crate::github::Updated;
use crate::progress::Progress;
use crate::report::Report;
use elastic::Elastic;
use findings::Fix;
use github::Github;
use issue::Newest;
use repair::Repair;
use strays::Known;

/// Issues under comparison at once.
const AT_ONCE: usize = 12;

/// The parts that are compared.
#[derive(Debug)]
struct Mirror {
    log: Log,
    objects: Objects,
    elastic: Elastic,
    github: Option<Github>,
    repair: Option<Repair>,
}

pub(crate) async fn run(asked: &Verify, deps: &Deps, progress: &mut Progress<'_>) -> Result<Report, Failure> {
    Ok(verify(asked, deps, progress).await?.report())
}

/// Compares the mirror of the named repository, or of all that are configured, and repairs it if asked.
///
/// # Errors
/// [`Failure`] if a part cannot be asked, so that nothing can be said.
pub async fn verify(asked: &Verify, deps: &Deps, progress: &mut Progress<'_>) -> Result<Findings, Failure> {
    let repositories = deps.configured()?;
    let mirror = Mirror::open(asked, deps).await?;
    progress.doing("compared");
    mirror.elastic.refresh().await;
    let mut findings = Findings {
        repaired: asked.repair,
        ..Findings::default()
    };
    let mut known = Known::new();
    for repository in &repositories {
        let numbers = Box::pin(mirror.repository(repository, &mut findings, progress)).await?;
        known.insert(repository.name.clone(), numbers);
        findings.repositories.push(repository.name.clone());
    }
    Box::pin(mirror.strays(&known, async |strays| mirror.settle(strays, &mut findings).await)).await?;
    for repository in &repositories {
        Box::pin(mirror.listed(repository, &known, &mut findings, progress)).await?;
    }
    Ok(findings)
}

impl Mirror {
    async fn open(asked: &Verify, deps: &Deps) -> Result<Self, Failure> {
        let (store, elasticsearch) = (
            ObjectStore::read(deps.settings())?,
            Elasticsearch::read(deps.settings())?,
        );
        let context = deps.context();
        let failed = |error: anyhow::Error| Failure::failed(format!("{error:#}"));
        let transport = bugstream_kit::elastic::transport(&elasticsearch).map_err(failed)?;
        let github = asked.against_github.then(|| deps.clients()).transpose()?;
        let objects = Objects::open(&store).map_err(failed)?;
        let broker = deps.broker().await?;
        let (chance, clock) = (context.chance.clone(), context.clock.clone());
        let requests = Requests::new(broker.jetstream.clone());
        Ok(Self {
            log: Log::new(broker.jetstream, clock.clone()),
            objects,
            elastic: Elastic::new(transport, chance.clone(), &elasticsearch.prefix),
            github: github.map(|clients| Github { clients, chance }),
            repair: asked.repair.then_some(Repair { requests, clock }),
        })
    }

    /// Compares every issue of a repository that the log knows, and returns their numbers, sorted.
    async fn repository(
        &self,
        repository: &Repository,
        findings: &mut Findings,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<u64>, Failure> {
        let known = self.log.known(&repository.name).await;
        let known = known.map_err(|error| Failure::failed(error.to_string()))?;
        let numbers: Vec<u64> = known.iter().map(IssueId::number).collect();
        drop(known);
        progress.expect(findings.issues + numbers.len() as u64);
        let issues = numbers.iter().filter_map(|number| repository.name.issue(*number).ok());
        let mut checks = stream::iter(issues)
            .map(|issue| async move { self.check(&issue, repository).await })
            .buffered(AT_ONCE);
        while let Some(checked) = checks.next().await {
            let checked = checked?;
            findings.issues += 1;
            findings.documents += checked.documents;
            self.settle(checked.differences, findings).await?;
            progress.step(findings.issues);
        }
        drop(checks);
        Ok(numbers)
    }

    /// Looks for issues that GitHub lists and the log does not know.
    async fn listed(
        &self,
        repository: &Repository,
        known: &Known,
        findings: &mut Findings,
        progress: &mut Progress<'_>,
    ) -> Result<(), Failure> {
        let Some(github) = &self.github else {
            return Ok(());
        };
        let list = Updated {
            client: github.client(&repository.name).clone(),
            chance: github.chance.clone(),
            repository: repository.name.clone(),
            since: OffsetDateTime::UNIX_EPOCH,
            newest_first: false,
        };
        let numbers = known.get(&repository.name).map(Vec::as_slice).unwrap_or_default();
        let mut page = list.page(None, progress).await?;
        loop {
            let unknown = page
                .numbers
                .iter()
                .filter(|number| numbers.binary_search(number).is_err());
            for issue in unknown.filter_map(|number| repository.name.issue(*number).ok()) {
                let missing = self.missing(&issue).await?;
                self.settle(missing.into_iter().collect(), findings).await?;
            }
            match page.next {
                Some(cursor) => page = list.page(Some(&cursor), progress).await?,
                None => return Ok(()),
            }
        }
    }

    /// The log may have got it meanwhile.
    async fn missing(&self, issue: &IssueId) -> Result<Option<Difference>, Failure> {
        let why = "GitHub lists it, and the log does not know it";
        let fix = Fix::Download(v1::Reason::Audit);
        let difference = || Difference::new(Kind::MissingFromLog, issue, issue.to_string(), why, fix);
        Ok(matches!(self.newest(issue).await?, Newest::Unknown).then(difference))
    }

    /// Notes differences, repaired if asked.
    async fn settle(&self, differences: Vec<Difference>, findings: &mut Findings) -> Result<(), Failure> {
        if let Some(repair) = &self.repair {
            self.mend(repair, &differences).await?;
        }
        findings.add(differences);
        Ok(())
    }
}

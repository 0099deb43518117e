//! Starts one Elasticsearch that stays, for development with plain `cargo test`, and prints what the tests want in
//! their environment: `cargo run -p bugstream-stack --example servers -- DIR`, then `source` its output.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use bugstream_stack::progress::Board;
use bugstream_stack::provision::{self, Cache, Wanted};
use bugstream_stack::server::{Elasticsearch, ElasticsearchOptions};

fn main() -> Result<()> {
    let dir = PathBuf::from(
        std::env::args()
            .nth(1)
            .context("usage: servers <FOLDER FOR ELASTICSEARCH>")?,
    );
    let wanted = Wanted {
        nats_server: true,
        elasticsearch: true,
        fixtures: true,
        minio: true,
    };
    let parts = provision::obtain(&Cache::open()?, wanted, &Board::default())?;
    let distribution = parts.elasticsearch.context("Elasticsearch was asked for")?;
    let elasticsearch = Elasticsearch::start(ElasticsearchOptions {
        heap_mb: 1024,
        ..ElasticsearchOptions::new(distribution, dir)
    })?;
    let mut out = std::io::stdout();
    writeln!(out, "export BUGSTREAM_TEST_ELASTIC_NODE={}", elasticsearch.url())?;
    writeln!(
        out,
        "export BUGSTREAM_TEST_NATS_SERVER={}",
        parts.nats_server.context("asked for")?.display()
    )?;
    writeln!(
        out,
        "export BUGSTREAM_TEST_FIXTURES={}",
        parts.fixtures.context("asked for")?.display()
    )?;
    writeln!(
        out,
        "export BUGSTREAM_TEST_MINIO={}",
        parts.minio.context("asked for")?.display()
    )?;
    writeln!(std::io::stderr(), "launcher pid {}", elasticsearch.detach()?.pid)?;
    Ok(())
}

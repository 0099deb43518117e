//! The indexer's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    bugstream_kit::service::main(
        bugstream_indexer::SERVICE,
        bugstream_indexer::config::Config::read,
        bugstream_indexer::run,
    )
}

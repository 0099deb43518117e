//! The `downloader` binary.

use std::process::ExitCode;

use bugstream_kit::service::{self, Service};

fn main() -> ExitCode {
    service::main(
        Service {
            name: "downloader",
            about: "Downloads issues from GitHub into the object store and logs what changed",
            version: env!("CARGO_PKG_VERSION"),
            sections: &[
                "nats",
                "object_store",
                "github",
                "repositories",
                "downloader",
                "retention",
            ],
            examples: "Examples:\n  downloader --config bugstream.toml\n  \
                       GITHUB_ORG=webcompat GITHUB_REPO_PUBLIC=web-bugs OBJECT_STORE_URL=./objects downloader",
        },
        bugstream_downloader::Config::read,
        bugstream_downloader::run,
    )
}

//! `queue-cli`, the operator's front door.

use std::process::ExitCode;

fn main() -> ExitCode {
    bugstream_queue_cli::main()
}

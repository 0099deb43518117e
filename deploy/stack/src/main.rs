//! `cargo stack`: the whole pipeline on one machine with the real servers, and all checks and tests against them.

mod checkout;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The whole pipeline on this machine, with the real servers and without containers.
#[derive(Debug, Parser)]
#[command(name = "cargo stack", bin_name = "cargo stack", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Test(test::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Test(arguments) => test::run(&arguments),
    };
    done.unwrap_or_else(|error| {
        report(&error);
        ExitCode::FAILURE
    })
}

/// The error with its causes, once, each on a line of its own.
fn report(error: &anyhow::Error) {
    use std::io::Write;
    let causes: String = error.chain().skip(1).map(|cause| format!("\n  {cause}")).collect();
    // With standard error closed there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "error: {error}{causes}");
}

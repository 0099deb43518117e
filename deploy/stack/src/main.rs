//! `cargo stack`: the whole pipeline on one machine with the real servers, and all checks and tests against them.

mod bench;
mod checkout;
mod compile;
mod down;
mod edit;
mod faults;
mod follow;
mod given;
mod logs;
mod mirror;
mod search;
mod services;
mod show;
mod stack;
mod state;
mod status;
mod test;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The whole pipeline on this machine, with the real servers and without containers.
#[derive(Debug, Parser)]
#[command(name = "cargo stack", bin_name = "cargo stack", version)]
#[command(after_help = "Examples:
  cargo stack up                 start everything, mirror a repository, show what happens
  cargo stack up --detach        the same, and return
  cargo stack test               run all checks and tests
Every command has examples: cargo stack up --help")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Arguments),
    Status(status::Arguments),
    Logs(logs::Arguments),
    Edit(edit::Arguments),
    Down(down::Arguments),
    Test(test::Arguments),
    Bench(bench::Arguments),
    Faults(faults::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up(arguments) => up::run(&arguments),
        Command::Status(_) => status::run(),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Edit(arguments) => edit::run(&arguments),
        Command::Down(_) => down::run(),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Faults(arguments) => faults::run(&arguments),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed_and_every_one_has_examples() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:"), "{help}");
        }
    }
}

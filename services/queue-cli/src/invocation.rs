//! From the words of a command line to a command with what it needs. Nothing is connected yet.

use std::ffi::OsString;
use std::path::PathBuf;

use bugstream_kit::config::Settings;
use bugstream_kit::service::{Context, config_arg, flag, keys_of};
use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::cli::{Cli, Command, Output};
use crate::deps::Deps;
use crate::failure::Failure;
use crate::usage;

/// The sections of the configuration that some command reads.
const SECTIONS: &[&str] = &["nats", "object_store", "elasticsearch", "github"];

/// A command, ready to be carried out.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) command: Command,
    pub(crate) output: Output,
    pub(crate) deps: Deps,
}

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A text about the command line itself.
    Help(String),
    /// A command.
    Run(Box<Invocation>),
}

/// The command line with the configuration's flags, which every command takes.
pub(crate) fn command() -> clap::Command {
    let configuration = keys_of(SECTIONS).map(flag).chain([config_arg()]);
    configuration.fold(Cli::command(), |command, arg| {
        command.arg(arg.global(true).hide_short_help(true).help_heading("Configuration"))
    })
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// [`Failure`] for a command line or configuration that cannot be used.
pub(crate) fn read<A>(
    arguments: impl IntoIterator<Item = A>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Asked, Failure>
where
    A: Into<OsString> + Clone,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let matches = match command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return about(&error, &arguments),
    };
    let cli = Cli::from_arg_matches(&matches).map_err(|error| usage::explain(&error, &arguments))?;
    let deps = Deps::new(
        settings(&matches, environment)?,
        cli.repository,
        Context::new("queue-cli"),
    );
    Ok(Asked::Run(Box::new(Invocation {
        command: cli.command,
        output: cli.output,
        deps,
    })))
}

fn about(error: &clap::Error, arguments: &[OsString]) -> Result<Asked, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Asked::Help(error.render().to_string())),
        _ => Err(usage::explain(error, arguments)),
    }
}

fn settings(matches: &ArgMatches, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, Failure> {
    let flags: Vec<_> = keys_of(SECTIONS)
        .filter_map(|key| matches.get_one::<String>(key.path).map(|text| (key.path, text.clone())))
        .collect();
    let file = matches.get_one::<PathBuf>("config").cloned();
    Ok(Settings::load(file.as_deref(), environment, &flags)?)
}

//! What the program says about itself. Needs no server.

use crate::operator::Operator;

#[tokio::test]
async fn the_help_is_short_and_complete() {
    let help = Operator::default().run("-h").await.out();
    insta::assert_snapshot!(help, @r#"
    The operator's front door: fills the mirror and says how it is, puts issues into Bugstream's queues
    by hand, counts and empties the queues, decides about held deletions, verifies the mirror, rebuilds
    its indices

    Usage: queue-cli [OPTIONS] <COMMAND>

    Commands:
      add                Queue single issues, before everything that waits
      add-range          Queue a range of issues
      add-updated-since  Queue the issues that were updated since a date, as GitHub lists them
      backfill           Mirror every issue of a repository, beside live work
      status             Say how fresh and how sound the mirror is
      length             Count the issues that wait
      purge              Empty a queue
      deletions          Decide about deletions that the fuse holds back
      dead-letters       Show what was put aside because it could never succeed, and have it tried again
      verify             Compare the log, the objects and Elasticsearch, and report every difference
      rebuild            Fill a new generation of indices from the archive, and let it serve
      rollback           Let an older generation of indices serve again
      generations        Show the generations of indices, or remove old ones
      history            Say what happened to an issue, when and why
      show               Show what the archive has of an issue
      snapshot           Keep the archive as one file, or put one back
      import             Take what the old system kept into the archive
      forget             Remove everything about an issue, for a legal request
      collect            Remove old revisions, and what no event names
      completion         Print a completion script for a shell
      help               Print this message or the help of the given subcommand(s)

    Options:
          --repository <OWNER/NAME>  The repository meant [default: the first that is configured]
          --output <FORM>            Lines for people, or one line of JSON for programs [default: human]
      -h, --help                     Print help (see more with '--help')
      -V, --version                  Print version

    Examples:
      queue-cli add download 12345             fetch one issue now
      queue-cli add-range index 1 200000       index again what the archive has; asks GitHub nothing
      queue-cli length                         what waits
      queue-cli backfill                       mirror every issue, as GitHub's quota allows
      queue-cli status                         how fresh and how sound the mirror is
      queue-cli COMMAND --help                 more examples

    Exit codes:
      0  done; verify: no difference; status: healthy
      1  could not be done: a server is away or refuses; verify: something differs; status: not healthy
      2  wrong use or configuration
    "#);
}

#[tokio::test]
async fn the_long_help_tells_how_to_configure() {
    let help = Operator::default().run("add-range --help").await.out();
    let (arguments, rest) = help.split_once("Configuration:\n").expect("it has that part");
    let (keys, examples) = rest.split_once("Examples:\n").expect("it has examples");
    for flag in [
        "--nats-url",
        "--object-store-url",
        "--elasticsearch-node",
        "--github-token",
        "--config",
    ] {
        assert!(keys.contains(flag), "{flag}: {keys}");
    }
    assert!(keys.contains("NATS servers, comma-separated [default: nats://127.0.0.1:4222] [env: NATS_URL]"));
    insta::assert_snapshot!(format!("{arguments}Examples:\n{examples}"), @r#"
    Queue a range of issues

    Usage: queue-cli add-range [OPTIONS] <QUEUE> <FIRST> <LAST>

    Arguments:
      <QUEUE>
              Which queue

              Possible values:
              - download: Issues to fetch from GitHub, whatever they wait for
              - index:    Issues to index again from what the archive has

      <FIRST>
              The first issue's number

      <LAST>
              The last issue's number, at least FIRST

    Options:
          --repository <OWNER/NAME>
              The repository meant [default: the first that is configured]

          --output <FORM>
              Lines for people, or one line of JSON for programs
              
              [default: human]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      queue-cli add-range download 1 500       fetched when GitHub's quota allows, behind webhooks
      queue-cli add-range index 1 200000       asks GitHub nothing; gaps in the numbers do not matter

    The same range may be queued again at any time: an issue waits once, and in the download queue
    it keeps its place.
    "#);
}

#[tokio::test]
async fn every_command_has_examples() {
    let operator = Operator::default();
    for command in [
        "add",
        "add-range",
        "add-updated-since",
        "backfill",
        "status",
        "length",
        "purge",
        "deletions",
        "verify",
        "rebuild",
        "rollback",
        "generations",
        "dead-letters",
        "history",
        "show",
        "snapshot",
        "import",
        "forget",
        "collect",
        "completion",
    ] {
        let help = operator.run(&format!("{command} -h")).await.out();
        assert!(help.contains(&format!("\n  queue-cli {command}")), "{command}: {help}");
    }
    let version = operator.run("--version").await.out();
    assert_eq!(version, concat!("queue-cli ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Operator::default().run(&format!("completion {shell}")).await.out();
        assert!(script.contains("add-updated-since"), "{shell}");
    }
}

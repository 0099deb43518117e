//! `cargo stack edit`: changes an issue at the simulator, which sends the signed webhook that GitHub would send.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::stack::Stack;

/// Change an issue at the GitHub simulator, which sends the webhook
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo stack edit 42 --title 'Video does not play'
  cargo stack edit 42 --label severity-critical --comment 'Seen here too'
  cargo stack edit 42 --close
  cargo stack edit 42 --private          moves it behind the moderation queue
  cargo stack edit 42 --public           and back
  cargo stack edit 42 --delete")]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Arguments {
    /// The number
    number: u64,
    /// A new title
    #[arg(long, group = "change")]
    title: Option<String>,
    /// A new description
    #[arg(long, group = "change")]
    body: Option<String>,
    /// Put a label on
    #[arg(long, value_name = "NAME", group = "change")]
    label: Option<String>,
    /// Take a label off
    #[arg(long, value_name = "NAME", group = "change")]
    remove_label: Option<String>,
    /// Add a comment
    #[arg(long, value_name = "TEXT", group = "change")]
    comment: Option<String>,
    /// Close it
    #[arg(long, group = "change", conflicts_with = "reopen")]
    close: bool,
    /// Open it again
    #[arg(long, group = "change")]
    reopen: bool,
    /// Move it behind the moderation queue: its content is in the private repository then
    #[arg(long, group = "change", conflicts_with = "public")]
    private: bool,
    /// Move it back into the open
    #[arg(long, group = "change")]
    public: bool,
    /// Delete it
    #[arg(long, group = "change", conflicts_with_all = ["title", "body", "label", "remove_label", "comment", "close", "reopen", "private", "public"])]
    delete: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let stack = Stack::open()?;
    if stack.given.github_api.is_some() {
        bail!("the stack mirrors a real GitHub, which is not edited from here");
    }
    if stack.state.alive("github-simulator").is_none() {
        bail!("the simulator does not run\n  cargo stack up --detach");
    }
    let url = format!("{}/_simulator/issues/{}", stack.github_url()?, arguments.number);
    let answer =
        send(&url, arguments).with_context(|| format!("the simulator did not change issue {}", arguments.number))?;
    writeln!(std::io::stdout(), "{}", told(arguments.number, &answer)).context("cannot print")?;
    Ok(ExitCode::SUCCESS)
}

fn send(url: &str, arguments: &Arguments) -> Result<Value> {
    // Errors are read too: the simulator says why.
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(30)))
        .proxy(None);
    let agent: ureq::Agent = config.http_status_as_error(false).build().into();
    let answer = if arguments.delete {
        agent.delete(url).call()
    } else {
        agent.post(url).send_json(arguments.fields())
    };
    let mut answer = answer.context("it does not answer")?;
    let status = answer.status();
    let body: Value = answer.body_mut().read_json().unwrap_or_default();
    if !status.is_success() {
        bail!("{status}: {}", body["message"].as_str().unwrap_or("no reason given"));
    }
    Ok(body)
}

/// One line: what was sent and how the receiver answered.
fn told(number: u64, answer: &Value) -> String {
    let deliveries = answer["deliveries"].as_array().cloned().unwrap_or_default();
    let each = deliveries.iter().map(|delivery| {
        let (event, action) = (
            delivery["event"].as_str().unwrap_or("?"),
            delivery["action"].as_str().unwrap_or("?"),
        );
        let status = delivery["status"]
            .as_u64()
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        format!("{event} {action}: {status}")
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() {
        format!("issue {number} changed, no webhook sent")
    } else {
        format!("issue {number} changed, webhook {}", each.join(", "))
    }
}

impl Arguments {
    fn fields(&self) -> Value {
        let mut fields = Map::new();
        let texts = [
            ("title", &self.title),
            ("body", &self.body),
            ("add_label", &self.label),
            ("remove_label", &self.remove_label),
            ("comment", &self.comment),
        ];
        for (name, text) in texts {
            fields.extend(text.as_ref().map(|text| (name.to_owned(), Value::from(text.as_str()))));
        }
        if self.close || self.reopen {
            fields.insert("state".to_owned(), if self.close { "closed" } else { "open" }.into());
        }
        if self.private || self.public {
            fields.insert("private".to_owned(), self.private.into());
        }
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Line::try_parse_from(format!("edit {line}").split(' ')).map(|line| line.arguments)
    }

    #[test]
    fn only_what_is_named_is_changed() {
        let fields = parse("42 --title New --close --public").expect("valid").fields();
        assert_eq!(fields, json!({"title": "New", "state": "closed", "private": false}));
    }

    #[test]
    fn an_edit_that_changes_nothing_or_contradicts_itself_is_refused() {
        for line in [
            "42",
            "42 --close --reopen",
            "42 --delete --title x",
            "abc --close",
            "42 --private --public",
        ] {
            parse(line).expect_err(line);
        }
    }

    #[test]
    fn the_answer_of_the_receiver_is_told() {
        let answer = json!({"deliveries": [{"event": "issues", "action": "edited", "status": 202}]});
        assert_eq!(told(42, &answer), "issue 42 changed, webhook issues edited: 202");
    }
}

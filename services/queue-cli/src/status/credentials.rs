//! What is left of GitHub's quota, as the active downloader saw it last.

use bugstream_kit::broker::Broker;
use serde_json::Value;

use super::screen::Part;
use crate::credential::{self, Credential};
use crate::deps::Deps;
use crate::failure::Failure;

pub(super) async fn part(broker: &Broker, deps: &Deps) -> Result<Part, Failure> {
    Ok(shown(&credential::stored(broker, deps).await?))
}

/// A limit is no illness: work waits for it and goes on. A credential that GitHub refuses is one.
fn shown(credentials: &[Credential]) -> Part {
    let part = Part::new("github").json(Value::Array(credentials.iter().map(Credential::json).collect()));
    if credentials.is_empty() {
        return part.say("nothing sent yet");
    }
    let part = credentials.iter().fold(part, |part, one| part.say(one.text()));
    let set_aside = credentials.iter().filter_map(|one| {
        let why = one.set_aside.as_ref()?;
        Some(format!(
            "{} is set aside ({why}): write one that is valid and restart the downloader",
            one.label
        ))
    });
    set_aside.fold(part, Part::wrong)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::Output;
    use crate::cost::Quota;
    use crate::credential::Known;
    use crate::status::screen::{Block, Screen};

    fn token(label: &str) -> Credential {
        Credential {
            label: label.to_owned(),
            quota: Known::Measured(Quota {
                limit: 5_000,
                remaining: 4_120,
                resets_in_s: 1_320,
            }),
            closed: None,
            set_aside: None,
        }
    }

    fn text(credentials: &[Credential], output: Output) -> String {
        let block = Block::new("a/b".to_owned(), vec![shown(credentials)]);
        Screen::new(vec![block], Vec::new()).report().render(output)
    }

    #[test]
    fn every_credential_says_what_is_left() {
        insta::assert_snapshot!(text(&[], Output::Human), @r#"
        a/b                                                       healthy
          github      nothing sent yet
        "#);
        let closed = Credential {
            closed: Some(Duration::from_secs(60)),
            ..token("app-7-815")
        };
        let all = [token("token-1a2b3c4d"), closed];
        insta::assert_snapshot!(text(&all, Output::Human), @r#"
        a/b                                                       healthy
          github      token-1a2b3c4d: 4,120 of 5,000 left, resets in 22 min · app-7-815: 4,120 of 5,000 left, resets in 22 min, GitHub asks to wait 1 min
        "#);
        insta::assert_snapshot!(text(&all, Output::Json), @r#"{"healthy":true,"repositories":{"a/b":{"github":[{"closed_s":null,"credential":"token-1a2b3c4d","limit":5000,"remaining":4120,"resets_in_s":1320,"set_aside":null},{"closed_s":60,"credential":"app-7-815","limit":5000,"remaining":4120,"resets_in_s":1320,"set_aside":null}]}},"wrong":[]}"#);
    }

    #[test]
    fn one_that_github_refuses_is_wrong() {
        let refused = Credential {
            set_aside: Some("401".to_owned()),
            ..token("token-1a2b3c4d")
        };
        insta::assert_snapshot!(text(&[refused], Output::Human), @r#"
        a/b                                                       not healthy
          github      token-1a2b3c4d: set aside (401)
          !           github: token-1a2b3c4d is set aside (401): write one that is valid and restart the downloader
        "#);
    }
}

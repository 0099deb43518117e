//! How the parts are shown: a block a repository, a line a part, and what is wrong below them.

use serde_json::{Map, Value, json};

use crate::report::Report;

/// Where the verdict stands in a block's first line.
const VERDICT: usize = 58;
/// What the parts that concern no repository alone are shown under, where there are several.
const SHARED: &str = "all repositories";

/// What was found of one part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    name: &'static str,
    said: Vec<String>,
    json: Value,
    wrong: Vec<String>,
}

impl Part {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            said: Vec::new(),
            json: Value::Null,
            wrong: Vec::new(),
        }
    }

    /// One that cannot be asked.
    pub(super) fn unknown(name: &'static str, why: &str) -> Self {
        let part = Self::new(name).say("cannot be asked").json(json!({ "error": why }));
        part.wrong(why)
    }

    /// Adds to its line.
    pub(super) fn say(mut self, text: impl Into<String>) -> Self {
        self.said.push(text.into());
        self
    }

    /// The same for programs.
    pub(super) fn json(self, json: Value) -> Self {
        Self { json, ..self }
    }

    /// Something is not as it should be, with what to do about it.
    pub(super) fn wrong(mut self, why: impl Into<String>) -> Self {
        self.wrong.push(why.into());
        self
    }

    /// The same, if there is something.
    pub(super) fn wrong_if(self, wrong: bool, why: impl Into<String>) -> Self {
        if wrong { self.wrong(why) } else { self }
    }
}

/// What belongs together under a title.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    title: String,
    parts: Vec<Part>,
}

impl Block {
    pub(super) fn new(title: String, parts: Vec<Part>) -> Self {
        Self { title, parts }
    }

    fn wrong(&self) -> impl Iterator<Item = String> {
        let of_part = |part: &Part| {
            let name = part.name;
            part.wrong
                .iter()
                .map(move |why| format!("{name}: {why}"))
                .collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(of_part)
    }

    fn healthy(&self) -> bool {
        self.parts.iter().all(|part| part.wrong.is_empty())
    }

    fn lines(&self) -> Vec<String> {
        let verdict = if self.healthy() { "healthy" } else { "not healthy" };
        let mut lines = vec![format!("{:<VERDICT$}{verdict}", self.title)];
        let line = |name: &str, text: &str| format!("  {name:<12}{text}");
        lines.extend(self.parts.iter().map(|part| line(part.name, &part.said.join(" · "))));
        lines.extend(self.wrong().map(|why| line("!", &why)));
        lines
    }

    fn json(&self) -> Map<String, Value> {
        self.parts
            .iter()
            .map(|part| (part.name.to_owned(), part.json.clone()))
            .collect()
    }
}

/// Everything that was found at one time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Screen {
    repositories: Vec<Block>,
    shared: Block,
}

impl Screen {
    pub(super) fn new(repositories: Vec<Block>, shared: Vec<Part>) -> Self {
        let shared = Block::new(SHARED.to_owned(), shared);
        Self { repositories, shared }
    }

    pub(super) fn report(&self) -> Report {
        let healthy = self.blocks().iter().all(Block::healthy);
        let lines: Vec<_> = self.blocks().iter().flat_map(Block::lines).collect();
        let report = Report::new(lines.join("\n"), self.json(healthy));
        if healthy { report } else { report.that_differs() }
    }

    /// One block where there is one repository.
    fn blocks(&self) -> Vec<Block> {
        match &self.repositories[..] {
            [one] => {
                let parts = one.parts.iter().chain(&self.shared.parts).cloned().collect();
                vec![Block::new(one.title.clone(), parts)]
            }
            several => several.iter().cloned().chain([self.shared.clone()]).collect(),
        }
    }

    fn json(&self, healthy: bool) -> Value {
        let wrong: Vec<_> = self
            .blocks()
            .iter()
            .flat_map(|block| block.wrong().collect::<Vec<_>>())
            .collect();
        let one = |block: &Block| (block.title.clone(), Value::Object(block.json()));
        let repositories: Map<_, _> = self.repositories.iter().map(one).collect();
        let mut json = self.shared.json();
        json.insert("healthy".to_owned(), healthy.into());
        json.insert("wrong".to_owned(), wrong.into());
        json.insert("repositories".to_owned(), repositories.into());
        Value::Object(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Output;

    fn repository(name: &str) -> Block {
        let mirror = Part::new("mirror")
            .say("newest change seen 14 s ago")
            .say("198,412 issues");
        Block::new(name.to_owned(), vec![mirror.json(json!({"issues": 198_412}))])
    }

    #[test]
    fn one_repository_is_one_block() {
        let dead = Part::new("dead").say("no letters").json(json!({"letters": 0}));
        let screen = Screen::new(vec![repository("webcompat/web-bugs")], vec![dead]);
        assert_eq!(screen.report().exit_code(), 0);
        insta::assert_snapshot!(screen.report().render(Output::Human), @r#"
        webcompat/web-bugs                                        healthy
          mirror      newest change seen 14 s ago · 198,412 issues
          dead        no letters
        "#);
        insta::assert_snapshot!(screen.report().render(Output::Json), @r#"{"dead":{"letters":0},"healthy":true,"repositories":{"webcompat/web-bugs":{"mirror":{"issues":198412}}},"wrong":[]}"#);
    }

    #[test]
    fn what_is_wrong_is_said_below_and_decides() {
        let shared = vec![Part::unknown("search", "Elasticsearch cannot be reached")];
        let screen = Screen::new(vec![repository("a/b"), repository("a/c")], shared);
        assert_eq!(screen.report().exit_code(), 1);
        insta::assert_snapshot!(screen.report().render(Output::Human), @r#"
        a/b                                                       healthy
          mirror      newest change seen 14 s ago · 198,412 issues
        a/c                                                       healthy
          mirror      newest change seen 14 s ago · 198,412 issues
        all repositories                                          not healthy
          search      cannot be asked
          !           search: Elasticsearch cannot be reached
        "#);
        insta::assert_snapshot!(screen.report().render(Output::Json), @r#"{"healthy":false,"repositories":{"a/b":{"mirror":{"issues":198412}},"a/c":{"mirror":{"issues":198412}}},"search":{"error":"Elasticsearch cannot be reached"},"wrong":["search: Elasticsearch cannot be reached"]}"#);
    }
}

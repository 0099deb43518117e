//! What the outline says, against tables and against what serde_json reads in the same bytes.

use bugstream_kit::chance::Chance;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::*;

fn outline(source: &str) -> Outline<'_> {
    Outline::of(source.as_bytes()).unwrap()
}

#[test]
fn members_keep_the_bytes_of_names_and_values() {
    let outline = outline("{ \"a\\u0062\" :\n 1e400 , \"c\":[1,\n2]}");
    let members: Vec<_> = outline.root().members().unwrap().collect();
    let seen: Vec<_> = members.iter().map(|m| (m.name(), m.prefix(), m.json())).collect();
    let want = [
        ("ab".into(), "\"a\\u0062\" :\n ", "1e400"),
        ("c".into(), "\"c\":", "[1,\n2]"),
    ];
    assert_eq!(seen, want);
    assert!(members[0].is_named("ab") && !members[0].is_named("a\\u0062"));
    assert!(outline.has_line_breaks());
}

#[test]
fn the_last_of_two_members_with_one_name_counts() {
    let outline = outline(r#"{"a":1,"b":2,"\u0061":3}"#);
    let members = outline.root().members().unwrap();
    let seen: Vec<_> = members.map(|m| (m.name().into_owned(), m.json())).collect();
    assert_eq!(seen, [("b".to_owned(), "2"), ("a".to_owned(), "3")]);
    assert_eq!(outline.root().get("a").unwrap().json(), "3");
    assert!(outline.root().says_twice());
}

#[test]
fn what_is_no_object_has_no_members() {
    for source in ["[]", "1", "null", "\"{}\"", "{\"\\ud800\":1}"] {
        assert!(outline(source).root().members().is_none(), "{source}");
    }
    assert_eq!(outline("{}").root().members().unwrap().count(), 0);
}

#[test]
fn texts_are_unescaped_and_lone_surrogates_are_none() {
    assert_eq!(outline(r#""a\u00e4\"b""#).root().text().unwrap(), "aä\"b");
    assert_eq!(outline("\"plain\"").root().text().unwrap(), "plain");
    for source in ["1", "null", r#""\ud800""#] {
        assert!(outline(source).root().text().is_none(), "{source}");
    }
}

#[test]
fn an_object_that_came_before_under_the_same_name_has_the_same_body() {
    let object = format!(r#"{{"login":"{}","urls":[{{"a":1}}],"b":2}}"#, "x".repeat(600));
    let source = format!(r#"[{{"actor":{object}}},{{"actor":{object},"user":{object}}},{{"actor":{object} }}]"#);
    let outline = outline(&source);
    let events: Vec<_> = outline.root().elements().unwrap().collect();
    let bodies: Vec<_> = events.iter().map(|event| event.get("actor").unwrap().body()).collect();
    assert_eq!(bodies, [bodies[0]; 3]);
    let user = events[1].get("user").unwrap();
    assert_ne!(user.body(), bodies[0]);
    assert_eq!(user.json(), object);
    assert_eq!(events[2].get("actor").unwrap().get("b").unwrap().json(), "2");
    let begun = format!(
        r#"[{{"actor":{object}}},{{"actor":{}}}]"#,
        object.replace("2}", "2,\"c\":3}")
    );
    let outline = super::tests::outline(&begun);
    let last = outline.root().elements().unwrap().last().unwrap();
    assert_eq!(
        last.get("actor").unwrap().get("c").unwrap().json(),
        "3",
        "a beginning is not the same"
    );
}

/// As serde_json reads it, one level at a time: the members of an object, all of them.
struct Read<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Read<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Read<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Read(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Down to the last value, the same is there, in the same places.
fn agree(value: Value<'_>, json: &RawValue, source: &str) {
    assert_eq!(value.json(), json.get(), "{source}");
    assert_eq!(
        value.text().as_deref(),
        serde_json::from_str::<String>(json.get()).ok().as_deref(),
        "{source}"
    );
    let elements: Option<Vec<&RawValue>> = serde_json::from_str(json.get()).ok();
    let outlined = value.elements().map(Vec::from_iter);
    assert_eq!(
        outlined.as_ref().map(Vec::len),
        elements.as_ref().map(Vec::len),
        "{source}"
    );
    for (value, json) in outlined.into_iter().flatten().zip(elements.into_iter().flatten()) {
        agree(value, json, source);
    }
    let members = serde_json::from_str(json.get()).ok().map(|Read(members)| members);
    let outlined = value.members().map(Vec::from_iter);
    assert_eq!(outlined.is_some(), members.is_some(), "{source}");
    let members = members.unwrap_or_default();
    let is_last = |n: usize| members[n + 1..].iter().all(|(name, _)| *name != members[n].0);
    let last: Vec<_> = (0..members.len())
        .filter(|n| is_last(*n))
        .map(|n| &members[n])
        .collect();
    let outlined = outlined.unwrap_or_default();
    let names = outlined.iter().map(|member| member.name().into_owned());
    assert!(names.eq(last.iter().map(|(name, _)| name.clone())), "{source}");
    for (member, (name, json)) in outlined.into_iter().zip(last) {
        assert!(member.is_named(name) && value.get(name).is_some_and(|found| found.index() == member.index()));
        agree(member, json, source);
    }
}

/// Chance that is the same in every run.
struct Dice(Chance);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.0.bits() % sides as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn space(&mut self, json: &mut String) {
        json.push_str(self.one(&["", "", "", "", "", "", " ", "\n", "\r\n\t"]));
    }

    fn name(&mut self) -> String {
        match self.below(3) {
            0 => format!("m{}", self.below(80)),
            _ => self
                .one(&[
                    "",
                    "a",
                    "\\u0061",
                    "actor",
                    "act\\u006fr",
                    "ä",
                    "\\\"",
                    "\\\\",
                    "subscriptions_url",
                    "\\ud83d\\ude00",
                ])
                .to_owned(),
        }
    }

    fn text(&mut self) -> String {
        let piece = [
            "{\\\"a\\\":[",
            "x",
            "ä😀",
            "\\\\",
            "\\ud800",
            "]},:",
            "0123456789abcdef",
        ];
        (0..self.below(8)).map(|_| self.one(&piece)).collect()
    }

    fn value(&mut self, depth: usize, known: &mut Vec<String>, json: &mut String) {
        self.space(json);
        match self.below(if depth == 0 { 6 } else { 12 }) {
            0 => json.push_str(self.one(&["null", "true", "false", "0", "-1.5e-400"])),
            1..4 => *json += &format!("\"{}\"", self.text()),
            4 if !known.is_empty() => *json += &known[self.below(known.len())],
            4..6 => *json += &format!("\"{}\"", "long".repeat(150)),
            6 | 7 => self.list(depth, known, json, ['[', ']']),
            _ => {
                let begin = json.len();
                self.list(depth, known, json, ['{', '}']);
                known.push(json[begin..].to_owned());
            }
        }
        self.space(json);
    }

    fn list(&mut self, depth: usize, known: &mut Vec<String>, json: &mut String, [open, close]: [char; 2]) {
        json.push(open);
        let most = self.one(&["4", "4", "4", "100"]).parse().unwrap();
        for n in 0..self.below(most) {
            json.push_str(if n > 0 { "," } else { "" });
            self.space(json);
            if open == '{' {
                *json += &format!(
                    "\"{}\"",
                    if self.below(200) == 0 {
                        "\\udead".to_owned()
                    } else {
                        self.name()
                    }
                );
                self.space(json);
                json.push(':');
            }
            self.value(depth.saturating_sub(most / 4), known, json);
        }
        self.space(json);
        json.push(close);
    }
}

#[test]
fn serde_json_reads_the_same() {
    let mut dice = Dice(Chance::seeded(0x2545_F491_4F6C_DD1D));
    let (mut shared, mut twice, mut breaks) = (0, 0, [0; 2]);
    for _ in 0..3_000 {
        let (mut source, mut known) = (String::new(), Vec::new());
        dice.value(4, &mut known, &mut source);
        let outline = outline(&source);
        agree(outline.root(), serde_json::from_str(&source).unwrap(), &source);
        let has_line_breaks = outline.root().json().contains(['\n', '\r']);
        assert_eq!(outline.has_line_breaks(), has_line_breaks, "{source}");
        let values = || (0..outline.len()).map(|index| outline.value(index));
        shared += values().filter(|value| value.body() != value.index()).count();
        twice += values().filter(|value| value.says_twice()).count();
        breaks[usize::from(has_line_breaks)] += 1;
    }
    assert!(
        shared > 100 && twice > 100 && breaks.iter().all(|count| *count > 100),
        "{shared} {twice} {breaks:?}"
    );
}

#[test]
fn nesting_that_no_stack_holds_is_outlined() {
    let source = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(outline(&source).len(), 50_000);
}

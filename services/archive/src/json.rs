//! A look into raw JSON that keeps its bytes: objects as lists of members, values as slices of the source.
//!
//! Not a tree: numbers are never parsed (`1e400` is valid JSON that no float holds), and only what is asked for is read.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One member of an object, as the source spells it.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    /// The name without quotes and escapes.
    pub(crate) name: Cow<'a, str>,
    /// The source from the name's opening quote to just before the value: `"name" : `.
    pub(crate) prefix: &'a str,
    /// The value, without surrounding whitespace.
    pub(crate) value: &'a RawValue,
}

/// What a value is, from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Bool,
    Null,
}

impl Kind {
    pub(crate) fn of(value: &RawValue) -> Self {
        match value.get().as_bytes().first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b'"') => Self::Text,
            Some(b't' | b'f') => Self::Bool,
            Some(b'n') => Self::Null,
            _ => Self::Number,
        }
    }

    /// For error messages.
    pub(crate) fn article(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Text => "a string",
            Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::Null => "null",
        }
    }
}

/// The members of an object in source order. Of members with one name only the last is kept, as every JSON parser
/// would: a document must not say a thing twice, and must not be judged by the one and published by the other.
/// `None` if the value is no object or a name is no Unicode text.
pub(crate) fn members(value: &RawValue) -> Option<Vec<Member<'_>>> {
    let source = value.get();
    let members = serde_json::Deserializer::from_str(source).deserialize_map(Members { source });
    members.ok().map(last_of_each)
}

/// The elements of an array. `None` if the value is no array.
pub(crate) fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// The text of a string. `None` if the value is no string, or has escapes that are no Unicode text.
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The member with that name.
pub(crate) fn find<'a>(members: &[Member<'a>], name: &str) -> Option<&'a RawValue> {
    members.iter().find(|m| m.name == name).map(|m| m.value)
}

/// The text of the member with that name.
pub(crate) fn find_text<'a>(members: &[Member<'a>], name: &str) -> Option<Cow<'a, str>> {
    find(members, name).and_then(text)
}

fn last_of_each(members: Vec<Member<'_>>) -> Vec<Member<'_>> {
    if !has_twins(&members) {
        return members;
    }
    let mut seen = HashSet::with_capacity(members.len());
    let is_last: Vec<bool> = members.iter().rev().map(|m| seen.insert(m.name.clone())).collect();
    members
        .into_iter()
        .zip(is_last.into_iter().rev())
        .filter_map(|(m, last)| last.then_some(m))
        .collect()
}

/// Whether two members may have one name. Most objects have so few members that comparing all is cheaper than hashing.
fn has_twins(members: &[Member<'_>]) -> bool {
    const FEW: usize = 64;
    let is_before = |(i, member): (usize, &Member<'_>)| members[..i].iter().any(|other| other.name == member.name);
    members.len() > FEW || members.iter().enumerate().any(is_before)
}

/// Where a slice of the source begins in it: a borrowed raw value is always one.
fn offset(source: &str, part: &str) -> usize {
    part.as_ptr() as usize - source.as_ptr() as usize
}

/// Reads the members of the object that `source` is.
struct Members<'a> {
    source: &'a str,
}

impl<'de> Visitor<'de> for Members<'de> {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut end) = (Vec::with_capacity(16), 0);
        while let Some(name) = map.next_key::<Name<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            let start = offset(self.source, value.get());
            let prefix = self
                .source
                .get(end..start)
                .and_then(|before| before.trim_start().get(1..));
            members.push(Member {
                name: name.0,
                prefix: prefix.ok_or_else(|| A::Error::custom("no name"))?.trim_start(),
                value,
            });
            end = start + value.get().len();
        }
        Ok(members)
    }
}

/// A name borrowed from the source where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(source: &str) -> &RawValue {
        serde_json::from_str(source).unwrap()
    }

    #[test]
    fn members_keep_the_bytes_of_names_and_values() {
        let found = members(raw("{ \"a\\u0062\" :\n 1e400 , \"c\":[1,\n2]}")).unwrap();
        let seen: Vec<_> = found.iter().map(|m| (&*m.name, m.prefix, m.value.get())).collect();
        assert_eq!(seen, [("ab", "\"a\\u0062\" :\n ", "1e400"), ("c", "\"c\":", "[1,\n2]")]);
    }

    #[test]
    fn the_last_of_two_members_with_one_name_counts() {
        let found = members(raw(r#"{"a":1,"b":2,"\u0061":3}"#)).unwrap();
        let seen: Vec<_> = found.iter().map(|m| (&*m.name, m.value.get())).collect();
        assert_eq!(seen, [("b", "2"), ("a", "3")]);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for source in ["[]", "1", "null", "\"{}\"", "{\"\\ud800\":1}"] {
            assert!(members(raw(source)).is_none(), "{source}");
        }
        assert!(members(raw("{}")).unwrap().is_empty());
    }

    #[test]
    fn texts_are_unescaped_and_lone_surrogates_are_none() {
        assert_eq!(text(raw(r#""a\u00e4\"b""#)).unwrap(), "aä\"b");
        assert_eq!(text(raw("\"plain\"")).unwrap(), "plain");
        for source in ["1", "null", r#""\ud800""#] {
            assert!(text(raw(source)).is_none(), "{source}");
        }
    }
}

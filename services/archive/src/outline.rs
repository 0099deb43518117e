//! Where everything is in a JSON text: one look at its bytes, after which nobody has to look for a member again.
//!
//! Not a tree of values: numbers are never parsed (`1e400` is valid JSON that no float holds), texts are unescaped when
//! somebody asks, and everything is a slice of the source. serde_json has found the text to be well-formed, so what is
//! left here is to tell texts, brackets and commas apart; nothing is judged.
//!
//! - Of members with one name only the last counts, as for every JSON parser: a document must not say a thing twice, and
//!   must not be judged by the one and published by the other. The earlier ones are *hidden*.
//! - An object with a name that is no Unicode text (a lone surrogate) has no members.
//! - An object that stood under the same name before, byte for byte, is compared and not looked through: a timeline shows
//!   the same few people again and again, and they are half of its bytes. Both have one [`Value::body`].

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::Error as _;
use serde_json::value::RawValue;

mod look;

/// A JSON text, and where in it what is.
pub(crate) struct Outline<'a> {
    source: &'a str,
    nodes: Vec<Node>,
    has_line_breaks: bool,
}

/// A value, and the name it has as a member. Descendants follow it, each with its own.
///
/// Places in the source have half the size that they could have: there are so many of these that it matters.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// Where the quote before its name is; for what is no member, where its value begins.
    start: u32,
    /// The length of its name as the source spells it.
    name_length: u32,
    value: u32,
    end: u32,
    /// The node whose descendants are this one's: itself, or an earlier one of the same text.
    body: u32,
    /// The first node after itself and its descendants.
    next: u32,
    /// The name has escapes.
    escaped: bool,
    /// The value is a text with escapes.
    escaped_text: bool,
    /// A later member of the same object has the same name.
    hidden: bool,
    /// The name of a member of this object is no text.
    unreadable: bool,
}

/// A value of an [`Outline`].
#[derive(Clone, Copy)]
pub(crate) struct Value<'t> {
    outline: &'t Outline<'t>,
    index: usize,
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

impl Node {
    /// Its name with its escapes.
    fn name<'a>(&self, source: &'a str) -> &'a str {
        // Behind the quote. What is no member has no name and no quote, and its name is empty wherever it begins.
        let start = self.start as usize + usize::from(self.name_length > 0);
        &source[start..start + self.name_length as usize]
    }

    fn json<'a>(&self, source: &'a str) -> &'a str {
        &source[self.value as usize..self.end as usize]
    }
}

/// The text between two quotes, which are not given. `None` for escapes that are no Unicode text.
fn unescaped(inner: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{inner}\"")).ok()
}

impl<'a> Outline<'a> {
    /// Finds out whether the bytes are JSON, then where everything is in them.
    pub(crate) fn of(bytes: &'a [u8]) -> serde_json::Result<Self> {
        let source = serde_json::from_slice::<&RawValue>(bytes)?.get();
        if u32::try_from(source.len()).is_err() {
            return Err(serde_json::Error::custom("larger than anything that GitHub sends"));
        }
        Ok(look::outline(source))
    }

    /// The whole text as a value.
    pub(crate) fn root(&self) -> Value<'_> {
        Value {
            outline: self,
            index: 0,
        }
    }

    /// Whether there are line breaks between tokens. Nowhere else can be any.
    pub(crate) fn has_line_breaks(&self) -> bool {
        self.has_line_breaks
    }

    /// How many values there are: more than any [`Value::body`].
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The value with that [`Value::index`].
    pub(crate) fn value(&self, index: usize) -> Value<'_> {
        Value { outline: self, index }
    }
}

impl fmt::Debug for Outline<'_> {
    /// No content: it may be private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outline").field("values", &self.len()).finish()
    }
}

impl<'t> Value<'t> {
    fn node(self) -> &'t Node {
        &self.outline.nodes[self.index]
    }

    /// By which [`Outline::value`] finds it.
    pub(crate) fn index(self) -> usize {
        self.index
    }

    /// The same number for values of which it is known that they have one text, as members have one name too.
    pub(crate) fn body(self) -> usize {
        self.node().body as usize
    }

    /// The value as the source spells it.
    pub(crate) fn json(self) -> &'t str {
        self.node().json(self.outline.source)
    }

    pub(crate) fn kind(self) -> Kind {
        match self.outline.source.as_bytes()[self.node().value as usize] {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::Text,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The name of a member, without quotes and escapes. Empty for what is no member.
    pub(crate) fn name(self) -> Cow<'t, str> {
        if self.node().escaped {
            Cow::Owned(unescaped(self.plain_name()).unwrap_or_default())
        } else {
            Cow::Borrowed(self.plain_name())
        }
    }

    /// The name with its escapes.
    fn plain_name(self) -> &'t str {
        self.node().name(self.outline.source)
    }

    /// Where a member begins in the source, with its name, and where it ends.
    pub(crate) fn span(self) -> Range<usize> {
        self.node().start as usize..self.node().end as usize
    }

    /// A part of the source.
    pub(crate) fn source(self, part: Range<usize>) -> &'t str {
        &self.outline.source[part]
    }

    /// The source from a member's name to just before its value: `"name" : `.
    pub(crate) fn prefix(self) -> &'t str {
        &self.outline.source[self.node().start as usize..self.node().value as usize]
    }

    /// The members of an object in source order, each name once. `None` if this is no object or has a name that is no
    /// Unicode text.
    pub(crate) fn members(self) -> Option<impl Iterator<Item = Value<'t>>> {
        let is_readable = self.kind() == Kind::Object && !self.body_node().unreadable;
        is_readable.then(|| self.children().filter(|member| !member.node().hidden))
    }

    /// The elements of an array. `None` if this is none.
    pub(crate) fn elements(self) -> Option<impl Iterator<Item = Value<'t>>> {
        (self.kind() == Kind::Array).then(|| self.children())
    }

    /// The member with that name. `None` as for [`Self::members`].
    pub(crate) fn get(self, name: &str) -> Option<Value<'t>> {
        self.members()?.find(|member| member.is_named(name))
    }

    /// Whether it is a member of that name.
    pub(crate) fn is_named(self, name: &str) -> bool {
        match self.node().escaped {
            true => self.name() == name,
            false => self.plain_name() == name,
        }
    }

    /// The text of a string. `None` if this is no string, or has escapes that are no Unicode text.
    pub(crate) fn text(self) -> Option<Cow<'t, str>> {
        let inner = self.json().strip_prefix('"')?.strip_suffix('"')?;
        match self.node().escaped_text {
            true => unescaped(inner).map(Cow::Owned),
            false => Some(Cow::Borrowed(inner)),
        }
    }

    /// The text of the member with that name.
    pub(crate) fn get_text(self, name: &str) -> Option<Cow<'t, str>> {
        self.get(name)?.text()
    }

    /// Whether an object has two members with one name.
    pub(crate) fn says_twice(self) -> bool {
        self.kind() == Kind::Object && self.children().any(|member| member.node().hidden)
    }

    fn body_node(self) -> &'t Node {
        &self.outline.nodes[self.body()]
    }

    fn children(self) -> Children<'t> {
        Children {
            outline: self.outline,
            index: self.body() + 1,
            end: self.body_node().next as usize,
        }
    }
}

#[derive(Clone)]
struct Children<'t> {
    outline: &'t Outline<'t>,
    index: usize,
    end: usize,
}

impl<'t> Iterator for Children<'t> {
    type Item = Value<'t>;

    fn next(&mut self) -> Option<Value<'t>> {
        (self.index < self.end).then(|| {
            let value = self.outline.value(self.index);
            self.index = value.node().next as usize;
            value
        })
    }
}

#[cfg(test)]
mod tests;

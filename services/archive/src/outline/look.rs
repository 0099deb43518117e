//! The look at the bytes of a well-formed text. A loop and no recursion, since no stack holds all that is valid JSON.

use std::collections::HashSet;

use super::{Node, Outline, unescaped};

/// The values of the text, the whole first, each before its descendants.
pub(super) fn outline(source: &str) -> Outline<'_> {
    let mut look = Look {
        source,
        at: 0,
        nodes: Vec::with_capacity(source.len() / BYTES_A_VALUE + 1),
        open: Vec::new(),
        known: Known::default(),
        has_line_breaks: false,
    };
    look.value(0, 0, false);
    while let Some(open) = look.open.last() {
        match look.source.as_bytes()[look.at] {
            b'}' | b']' => look.close(),
            b'"' if open.is_object => look.member(),
            b',' | b' ' | b'\t' => look.at += 1,
            b'\n' | b'\r' => look.pass_line_break(),
            _ => look.value(look.at, 0, false),
        }
    }
    Outline {
        source,
        nodes: look.nodes,
        has_line_breaks: look.has_line_breaks,
    }
}

/// More than GitHub's answers have, as far as they are looked through.
const BYTES_A_VALUE: usize = 64;

struct Look<'a> {
    source: &'a str,
    at: usize,
    nodes: Vec<Node>,
    /// Objects and arrays that have not ended, the innermost last.
    open: Vec<Open>,
    known: Known<'a>,
    has_line_breaks: bool,
}

struct Open {
    index: usize,
    is_object: bool,
    names: Names,
    may_have_twins: bool,
}

impl<'a> Look<'a> {
    fn member(&mut self) {
        let start = self.at;
        let escaped = self.pass_string();
        let name = &self.source[start + 1..self.at - 1];
        self.note(name, escaped);
        self.pass_colon();
        self.value(start, name.len(), escaped);
    }

    /// And what whitespace is around it.
    fn pass_colon(&mut self) {
        loop {
            match self.source.as_bytes()[self.at] {
                b':' | b' ' | b'\t' => self.at += 1,
                b'\n' | b'\r' => self.pass_line_break(),
                _ => return,
            }
        }
    }

    fn pass_line_break(&mut self) {
        self.has_line_breaks = true;
        self.at += 1;
    }

    /// A value that begins here, and its name where it is a member.
    fn value(&mut self, start: usize, name_length: usize, escaped: bool) {
        let (value, index) = (self.at, self.nodes.len());
        let mut node = Node {
            start: start as u32,
            name_length: name_length as u32,
            value: value as u32,
            end: 0,
            body: index as u32,
            next: index as u32 + 1,
            escaped,
            escaped_text: false,
            hidden: false,
            unreadable: false,
        };
        match self.source.as_bytes()[value] {
            b'"' => node.escaped_text = self.pass_string(),
            b'{' => match self.known.find(node.name(self.source), &self.source[value..]) {
                Some((body, length)) => {
                    node.body = body as u32;
                    self.at += length;
                }
                None => self.open(index, true),
            },
            b'[' => self.open(index, false),
            _ => self.pass_scalar(),
        }
        node.end = self.at as u32;
        self.nodes.push(node);
    }

    fn open(&mut self, index: usize, is_object: bool) {
        self.at += 1;
        self.open.push(Open {
            index,
            is_object,
            names: Names::default(),
            may_have_twins: false,
        });
    }

    fn close(&mut self) {
        self.at += 1;
        let Some(Open {
            index,
            may_have_twins,
            is_object,
            ..
        }) = self.open.pop()
        else {
            return;
        };
        if may_have_twins {
            self.hide_twins(index);
        }
        let next = self.nodes.len();
        let node = &mut self.nodes[index];
        (node.end, node.next) = (self.at as u32, next as u32);
        if is_object && node.name_length > 0 {
            self.known.add(node.name(self.source), node.json(self.source), index);
        }
    }

    /// Takes note of the name of a member that follows.
    fn note(&mut self, name: &str, escaped: bool) {
        let Some(open) = self.open.last_mut() else { return };
        let (is_new, parent) = (open.names.insert(name), open.index);
        open.may_have_twins |= escaped || open.names.are_many();
        if !is_new && !open.may_have_twins {
            open.may_have_twins = has_member(&self.nodes, self.source, parent, name);
        }
        if escaped && unescaped(name).is_none() {
            self.nodes[parent].unreadable = true;
        }
    }

    /// Of members with one name, hides all but the last.
    fn hide_twins(&mut self, parent: usize) {
        let mut members = Vec::new();
        let mut index = parent + 1;
        while let Some(node) = self.nodes.get(index) {
            members.push(index);
            index = node.next as usize;
        }
        let mut seen = HashSet::with_capacity(members.len());
        for index in members.into_iter().rev() {
            let node = &mut self.nodes[index];
            let name = node.name(self.source);
            let plain = if node.escaped { unescaped(name) } else { None };
            node.hidden = !seen.insert(plain.unwrap_or_else(|| name.to_owned()));
        }
    }

    /// Whether it has escapes.
    #[inline]
    fn pass_string(&mut self) -> bool {
        let bytes = self.source.as_bytes();
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += quote_or_backslash(&bytes[self.at..]);
            if bytes[self.at] == b'"' {
                self.at += 1;
                return escaped;
            }
            escaped = true;
            self.at += 2;
        }
    }

    /// A number, `true`, `false` or `null`.
    fn pass_scalar(&mut self) {
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        let rest = &self.source.as_bytes()[self.at..];
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }
}

/// Among members of an object that is not complete yet.
fn has_member(nodes: &[Node], source: &str, parent: usize, name: &str) -> bool {
    let mut index = parent + 1;
    while let Some(node) = nodes.get(index) {
        if node.name_length as usize == name.len() && node.name(source) == name {
            return true;
        }
        index = node.next as usize;
    }
    false
}

/// Where the string ends, or goes on with an escape. Eight bytes at a time, as serde_json does it.
#[inline]
fn quote_or_backslash(bytes: &[u8]) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    // The highest bit of each byte that is zero; of others only above such a one.
    let zeros = |word: u64| word.wrapping_sub(EACH) & !word & (EACH << 7);
    let (words, rest) = bytes.as_chunks();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ (EACH * u64::from(b'"'))) | zeros(word ^ (EACH * u64::from(b'\\')));
        if found != 0 {
            return n * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
    bytes.len() - rest.len() + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The names in an object, as far as it takes to see that one is new. Comparing each with each costs more than all else.
#[derive(Default)]
struct Names {
    bits: [u64; 4],
    count: usize,
}

impl Names {
    /// Of more than these, hardly one would seem to be new.
    const FEW: usize = 64;

    /// Whether the name is certainly new.
    fn insert(&mut self, name: &str) -> bool {
        let bit = (hash(name.as_bytes()) >> 56) as usize;
        let (word, bit) = (&mut self.bits[bit / 64], 1 << (bit % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        self.count += 1;
        is_new
    }

    fn are_many(&self) -> bool {
        self.count > Self::FEW
    }
}

/// By the first eight bytes, the last eight, and the length: names in one object differ in these.
fn hash(name: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let [first, last] = if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        [first, last].map(|bytes| u64::from_le_bytes(*bytes))
    } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        [first, last].map(|bytes| u64::from(u32::from_le_bytes(*bytes)))
    } else {
        [0, name.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))]
    };
    (first.wrapping_mul(ODD) ^ last.rotate_left(29) ^ name.len() as u64).wrapping_mul(ODD)
}

/// Objects looked through before: name, text, node.
#[derive(Default)]
struct Known<'a> {
    objects: Vec<(&'a str, &'a str, usize)>,
    oldest: usize,
}

impl<'a> Known<'a> {
    /// Comparing with all must stay cheaper than looking through one more person.
    const MOST: usize = 32;
    /// Of the size of a person. Smaller ones, as a comment's reactions, hardly come twice, and would push people out.
    const SMALLEST: usize = 512;

    /// The node and length of an object that `rest` begins with, if it is a known one. A beginning that is a whole object
    /// is the object.
    fn find(&self, name: &str, rest: &str) -> Option<(usize, usize)> {
        let is_it = |(its_name, text, _): &&(&str, &str, usize)| *its_name == name && rest.starts_with(text);
        self.objects
            .iter()
            .find(is_it)
            .map(|(_, text, index)| (*index, text.len()))
    }

    fn add(&mut self, name: &'a str, text: &'a str, index: usize) {
        if text.len() < Self::SMALLEST {
            return;
        }
        if self.objects.len() < Self::MOST {
            self.objects.push((name, text, index));
        } else {
            self.objects[self.oldest] = (name, text, index);
            self.oldest = (self.oldest + 1) % Self::MOST;
        }
    }
}

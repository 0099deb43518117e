//! Members that Elasticsearch cannot index as they are, so that a document with them would be refused as a whole: a text
//! where an object belongs, a name that is empty. They go into `bugstream.unindexed` of the same document, each as the
//! text of its JSON, byte for byte. So the rest is searched as ever, and nothing is lost.
//!
//! Only Elasticsearch knows what it refuses, so this begins with what it says and goes further with each refusal: the
//! named members, then whatever is no plain value, then everything.

use crate::outline::Kind;

/// Refusals that name one more member each before more than what is named is put aside.
const MOST_NAMED: usize = 4;

/// What of a document is put aside, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aside {
    reach: Reach,
    /// Paths of mapped fields.
    fields: Vec<String>,
    reasons: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Reach {
    /// The members that hold the fields.
    #[default]
    Named,
    /// And objects, lists, and names that Elasticsearch may take for something else.
    Nested,
    Everything,
}

impl Aside {
    /// After a refusal: puts aside more. `field` is the path of the field that Elasticsearch named, or empty; `reason` is
    /// what `bugstream.error` will say, never content. `false` if there is nothing more to put aside.
    pub fn grow(&mut self, field: &str, reason: &str) -> bool {
        if self.reach == Reach::Everything {
            return false;
        }
        if !self.takes_field(field) {
            self.reach = match self.reach {
                Reach::Named => Reach::Nested,
                Reach::Nested | Reach::Everything => Reach::Everything,
            };
        }
        if !self.reasons.iter().any(|known| known == reason) {
            self.reasons.push(reason.to_owned());
        }
        true
    }

    /// Whether it is one more that helps.
    fn takes_field(&mut self, field: &str) -> bool {
        let is_new = !field.is_empty() && !self.fields.iter().any(|known| known == field);
        let is_taken = is_new && self.fields.len() < MOST_NAMED;
        if is_taken {
            self.fields.push(field.to_owned());
        }
        is_taken
    }

    /// What `bugstream.error` says.
    pub(crate) fn error(&self) -> String {
        self.reasons.join(", ")
    }

    pub(crate) fn takes(&self, name: &str, kind: Kind) -> bool {
        self.names(name)
            || match self.reach {
                Reach::Named => false,
                Reach::Nested => !is_plain(name) || matches!(kind, Kind::Object | Kind::Array),
                Reach::Everything => true,
            }
    }

    fn names(&self, name: &str) -> bool {
        let holds = |field: &String| {
            field
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.fields.iter().any(holds)
    }
}

/// No dots, no metadata field, not empty.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('_') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(aside: &Aside) -> Vec<&'static str> {
        let members = [
            ("title", Kind::Text),
            ("labels", Kind::Array),
            ("label", Kind::Object),
            ("title.x", Kind::Number),
            ("", Kind::Number),
            ("_id", Kind::Number),
        ];
        let takes = |(name, kind): &(&str, Kind)| aside.takes(name, *kind);
        members.into_iter().filter(takes).map(|(name, _)| name).collect()
    }

    #[test]
    fn each_refusal_puts_more_aside_and_the_end_is_everything() {
        let mut aside = Aside::default();
        assert_eq!(taken(&aside), [""; 0]);
        assert!(aside.grow("labels.name", "first"));
        assert_eq!(taken(&aside), ["labels"]);
        assert!(aside.grow("title", "second"));
        assert_eq!(taken(&aside), ["title", "labels"], "a name is no beginning of another");
        assert!(aside.grow("title", "second"), "the same again: it was another member");
        assert_eq!(taken(&aside), ["title", "labels", "label", "title.x", "", "_id"]);
        assert!(aside.grow("", ""));
        assert_eq!(aside.reach, Reach::Everything);
        assert!(!aside.grow("label", "too late"));
        assert_eq!(aside.error(), "first, second, ");
    }

    #[test]
    fn a_refusal_that_names_nothing_leaves_plain_values_where_they_are() {
        let mut aside = Aside::default();
        assert!(aside.grow("", "odd"));
        assert_eq!(taken(&aside), ["labels", "label", "title.x", "", "_id"]);
        assert!(aside.grow("title", "odd"));
        assert_eq!(taken(&aside).len(), 6);
        assert_eq!(aside.reach, Reach::Nested);
    }

    #[test]
    fn whatever_is_refused_there_is_an_end() {
        let mut aside = Aside::default();
        let rounds = (0..100).take_while(|n| aside.grow(&format!("field{n}"), "no")).count();
        assert_eq!(rounds, MOST_NAMED + 2);
    }
}

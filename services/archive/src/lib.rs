//! What raw JSON means: which side of the privacy wall it belongs to, and the documents that are made of it.
//!
//! Everything here is a pure function of bytes as GitHub sent them (or as the old system stored them): no clock, no I/O.
//! The indexer, the API and the snapshots all ask this crate, so that they cannot disagree about what is private.
//!
//! Invariants:
//! - Raw JSON is spliced, never re-serialised: a value of a document is byte for byte the value that GitHub sent,
//!   odd numbers and escapes included.
//! - Privacy fails closed: what cannot be judged is private.
//! - No error quotes content.
//!
//! The steps, one a file: [`parse`](Archived::parse) (to an `outline`, where everything is in the bytes) →
//! [`classify`](Archived::classify) (by `reference`, what an event names) → `document` (less what is put
//! [`Aside`]). [`Marks`] say what was ever written, [`names`] where it is written.

mod aside;
mod classify;
mod document;
mod marks;
pub mod merged;
pub mod names;
mod outline;
mod parse;
mod reference;
mod whose;

pub use aside::Aside;
pub use classify::{Classified, PRIVACY_VERSION, Rules, Side};
pub use document::{PRIVATE_FLAG, Stamp, error_stub, issue_document_id, stub, timeline_document_id};
pub use marks::{Marks, SideMarks};
pub use parse::{ArchiveError, Archived, Part, Problem};
pub use whose::OtherIssue;

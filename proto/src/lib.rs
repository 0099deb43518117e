//! The contract: messages, subjects, headers, streams and object keys that two services must agree on.

pub mod ids;

pub use ids::{IdError, IssueId, RepoName};

//! Follows the log into Elasticsearch.

pub mod marks;
pub mod plan;

//! Follows the log into Elasticsearch.

pub mod plan;

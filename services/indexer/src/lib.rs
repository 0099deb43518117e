//! Follows the log into Elasticsearch

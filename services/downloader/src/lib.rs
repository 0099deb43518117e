//! Downloads issues from GitHub into the object store and logs what changed

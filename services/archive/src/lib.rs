//! What raw JSON means: documents, the private merge, what is private

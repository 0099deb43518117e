//! Real input: every recorded `issues` and `issue_comment` delivery, signed and posted as GitHub would.

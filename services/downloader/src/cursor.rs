//! Where a list goes on, as a record keeps it.

use bugstream_github::Cursor;
use serde_json::Value;

pub(crate) fn write(cursor: &Cursor) -> String {
    match serde_json::to_value(cursor) {
        Ok(Value::String(text)) => text,
        _ => unreachable!("a cursor is written as a text"),
    }
}

/// `None` for what is none: then the list begins anew.
pub(crate) fn read(text: &str) -> Option<Cursor> {
    serde_json::from_value(Value::String(text.to_owned())).ok()
}

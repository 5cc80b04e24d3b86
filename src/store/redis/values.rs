//! Parts of answers of Redis.

use super::{failure::Failure, id::EntryId};
use redis::Value;

pub(super) fn stream_entry(value: &Value) -> Option<(EntryId, &[u8], &[u8])> {
    let Value::Array(entry) = value else { return None };
    let [id, Value::Array(fields)] = &entry[..] else { return None };
    let [name, body] = &fields[..] else { return None };
    Some((EntryId::parse(bytes(id)?)?, bytes(name)?, bytes(body)?))
}

pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn list(value: &Value) -> Result<&[Value], Failure> {
    match value {
        Value::Array(list) => Ok(list),
        _ => Err(Failure::Unreadable),
    }
}

pub(super) fn entry_id(value: &Value) -> Option<EntryId> {
    bytes(value).and_then(EntryId::parse)
}

pub(super) fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

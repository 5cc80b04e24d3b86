//! The present state of changed messages, as a hash beside the stream keeps it. The scripts in `lua/` write the same
//! format.
//!
//! ```text
//! edit      entry id of the edit (8, big-endian) | text
//! reactions a JSON array of arrays: an emoji, then the users who reacted with it, in order
//! ```

use super::id::EntryId;
use crate::message::{MessageId, Reaction};
use std::iter;

/// Appends the state of an edited message.
pub(super) fn write_edit(id: MessageId, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&EntryId::of(id).to_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads the edit's entry and its text.
pub(super) fn read_edit(edit: &[u8]) -> Option<(EntryId, &str)> {
    let (id, said) = edit.split_first_chunk()?;
    Some((EntryId::from_bytes(*id), std::str::from_utf8(said).ok()?))
}

pub(super) fn write_reactions(reactions: &[Reaction]) -> String {
    let each = |reaction: &Reaction| -> Vec<serde_json::Value> {
        iter::once(&*reaction.emoji).chain(reaction.users.iter().map(|user| &**user)).map(Into::into).collect()
    };
    serde_json::Value::from(reactions.iter().map(each).collect::<Vec<_>>()).to_string()
}

pub(super) fn read_reactions(json: &[u8]) -> Option<Vec<Reaction>> {
    let all: Vec<Vec<String>> = serde_json::from_slice(json).ok()?;
    let reactions = all.into_iter().filter_map(|reaction| {
        let (emoji, users) = reaction.split_first()?;
        Some(Reaction { emoji: emoji.as_str().into(), users: users.iter().map(|user| user.as_str().into()).collect() })
    });
    Some(reactions.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn an_edit_and_reactions_are_read_as_they_are_written() {
        let (id, mut edit) = (MessageId(Uuid::now_v7()), Vec::new());
        write_edit(id, "so", &mut edit);
        assert_eq!(read_edit(&edit), Some((EntryId::of(id), "so")));
        let reaction = |emoji: &str, users: &[&str]| Reaction {
            emoji: emoji.into(),
            users: users.iter().map(|user| (*user).into()).collect(),
        };
        let reactions = [reaction("👍", &["b\"b", "a"]), reaction("🎉", &["ä"])];
        assert_eq!(read_reactions(write_reactions(&reactions).as_bytes()).as_deref(), Some(&reactions[..]));
    }
}

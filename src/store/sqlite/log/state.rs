//! The present state of a message: enough to judge a change of it, and to show it, without the tables.

use crate::{
    entry::{MAX_EMOJI, MAX_REACTING, NewChange, NewChangeKind, Reach, Unchangeable},
    message::{Message, MessageId, Reaction},
    store::journal::{Changed, Outcome},
};
use std::{collections::HashMap, sync::Arc};

/// A message that is there.
#[derive(Clone)]
pub(in crate::store::sqlite) struct State {
    /// Without reactions.
    message: Message,
    reactions: Vec<Reacted>,
}

/// An emoji, and who reacted with it.
pub(super) type Reacted = (Arc<str>, Arc<str>);

impl State {
    /// `reactions` in the order in which they were made.
    pub fn new(message: Message, reactions: Vec<Reacted>) -> State {
        State { message, reactions }
    }

    /// Whether a change is allowed.
    pub fn judge(&self, change: &NewChange) -> Result<(), Unchangeable> {
        let is_react = matches!(change.kind, NewChangeKind::React { .. });
        if !is_react && change.reach == Reach::Own && *self.message.sender != *change.by {
            return Err(Unchangeable::NotYours);
        }
        match &change.kind {
            NewChangeKind::Edit { since, .. } if change.of.millis() < *since => Err(Unchangeable::TooLate),
            NewChangeKind::Edit { text, .. } if *text == self.message.text => Err(Unchangeable::Unchanged),
            NewChangeKind::React { emoji, on } => self.judge_reaction(emoji, &change.by, *on),
            NewChangeKind::Edit { .. } | NewChangeKind::Delete => Ok(()),
        }
    }

    fn judge_reaction(&self, emoji: &str, by: &str, on: bool) -> Result<(), Unchangeable> {
        let mut each: HashMap<&str, usize> = HashMap::new();
        let mut is_on = false;
        for (other, user) in &self.reactions {
            *each.entry(other).or_default() += 1;
            is_on |= **other == *emoji && **user == *by;
        }
        if is_on == on {
            return Err(Unchangeable::Unchanged);
        }
        let is_full = match each.get(emoji) {
            Some(reacting) => *reacting >= MAX_REACTING,
            None => each.len() >= MAX_EMOJI,
        };
        if on && is_full { Err(Unchangeable::TooManyEmoji) } else { Ok(()) }
    }

    /// The state after a change; `None`: the message is gone.
    pub fn changed(mut self: Arc<State>, id: MessageId, change: &Changed) -> Option<Arc<State>> {
        match &change.outcome {
            Outcome::Text(text) => {
                let message = &mut Arc::make_mut(&mut self).message;
                (message.text, message.edited) = (text.clone(), Some(id));
            }
            Outcome::Nothing => return None,
            Outcome::Reacted { emoji, on } => {
                let state = Arc::make_mut(&mut self);
                state.reactions.retain(|(other, user)| *other != *emoji || *user != change.by);
                if *on {
                    state.reactions.push((emoji.clone(), change.by.clone()));
                }
            }
        }
        Some(self)
    }

    pub fn text(&self) -> &str {
        &self.message.text
    }

    pub fn message(&self) -> Message {
        Message { reactions: by_emoji(self.reactions.iter().cloned()), ..self.message.clone() }
    }

    /// The memory that it takes, roughly.
    pub fn size(&self) -> usize {
        let Message { sender, name, text, extra, .. } = &self.message;
        let reactions: usize = self.reactions.iter().map(|(emoji, user)| 64 + emoji.len() + user.len()).sum();
        let optional = name.as_deref().map_or(0, str::len) + extra.as_deref().map_or(0, str::len);
        size_of::<State>() + sender.len() + text.len() + optional + reactions
    }
}

/// Reactions grouped by emoji.
pub(super) fn by_emoji(reactions: impl IntoIterator<Item = Reacted>) -> Vec<Reaction> {
    let mut all: Vec<Reaction> = Vec::new();
    for (emoji, user) in reactions {
        match all.iter_mut().find(|reaction| *reaction.emoji == *emoji) {
            Some(reaction) => reaction.users.push(user),
            None => all.push(Reaction { emoji: (&*emoji).into(), users: vec![user] }),
        }
    }
    all
}

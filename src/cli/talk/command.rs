//! Parses a typed line: most lines are messages, a few are commands.

/// The commands as they are typed, and their arguments.
const ALL: [(&str, Takes); 12] = [
    ("/who", Takes::Nothing),
    ("/reply", Takes::Text),
    ("/edit", Takes::Text),
    ("/delete", Takes::Number),
    ("/search", Takes::Text),
    ("/show", Takes::Number),
    ("/earlier", Takes::Nothing),
    ("/later", Takes::Nothing),
    ("/rooms", Takes::Nothing),
    ("/room", Takes::Text),
    ("/help", Takes::Nothing),
    ("/quit", Takes::Nothing),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    /// The number of a message.
    Number,
    Text,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    Nothing,
    Say(&'a str),
    Who,
    /// Reply to the message with this number, or to the last one of others.
    Reply(Option<usize>, &'a str),
    /// Change the message with this number, or the user's last one.
    Edit(Option<usize>, &'a str),
    Delete(Option<usize>),
    Search(&'a str),
    /// Show the message with this number, and what was said around it.
    Show(usize),
    /// Show what was said before the messages that were shown last, or after them.
    Earlier,
    Later,
    Rooms,
    /// Go to another room.
    Room(&'a str),
    Help,
    Quit,
    /// The name of a command with missing or extra arguments.
    Misused(&'static str),
    /// Looks like a command, but is none.
    Unknown(&'a str),
}

impl<'a> Asked<'a> {
    pub fn read(line: &'a str) -> Asked<'a> {
        let trimmed = line.trim();
        let (word, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        let rest = rest.trim();
        let Some((name, takes)) = ALL.into_iter().find(|(name, _)| *name == word) else {
            return match trimmed {
                "" => Asked::Nothing,
                word if is_command(word) => Asked::Unknown(word),
                word if word.strip_prefix('/').is_some_and(asks_for_something) => Asked::Say(&trimmed[1..]),
                _ => Asked::Say(line),
            };
        };
        if takes == Takes::Nothing && !rest.is_empty() {
            return Asked::Say(line);
        }
        let (number, text) = numbered(rest);
        match name {
            "/show" if text.is_empty() => number.map_or(Asked::Misused(name), Asked::Show),
            "/who" => Asked::Who,
            "/rooms" => Asked::Rooms,
            "/help" => Asked::Help,
            "/quit" => Asked::Quit,
            "/earlier" => Asked::Earlier,
            "/later" => Asked::Later,
            "/delete" if text.is_empty() => Asked::Delete(number),
            "/search" if !rest.is_empty() => Asked::Search(rest),
            "/room" if !rest.is_empty() => Asked::Room(rest),
            "/reply" if !text.is_empty() => Asked::Reply(number, text),
            "/edit" if !text.is_empty() => Asked::Edit(number, text),
            _ => Asked::Misused(name),
        }
    }
}

/// The commands that begin with this text.
pub fn beginning(begun: &str) -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name).filter(move |name| name.starts_with(begun))
}

/// The command of which a word could be a misspelling.
pub fn nearest(word: &str) -> Option<&'static str> {
    let (distance, name) = ALL.iter().map(|(name, _)| (strsim::osa_distance(name, word), *name)).min()?;
    (distance <= 2).then_some(name)
}

/// `#12 text`: the number of a message, if there is one, and the rest.
fn numbered(text: &str) -> (Option<usize>, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match word.strip_prefix('#').and_then(|number| number.parse().ok()) {
        Some(number) => (Some(number), rest.trim()),
        None => (None, text),
    }
}

/// Whether a word is a slash and a name: neither a path nor a comment in a program.
fn is_command(word: &str) -> bool {
    word.strip_prefix('/').is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()))
}

/// Whether a line is not a message.
fn asks_for_something(line: &str) -> bool {
    is_command(line) || !matches!(Asked::read(line), Asked::Say(_) | Asked::Nothing)
}

pub const HELP: &str = "\
/reply TEXT replies to the last message of somebody else; /reply #12 TEXT to the message with that number
/edit TEXT changes your last message; /delete deletes it, /delete #12 the message with that number
/search WORDS finds messages that have all these words; /who shows who is here
/show #12 shows that message and what was said around it; /earlier and /later go on from there
/rooms lists your rooms; /room NAME goes to another one (the Tab key completes its name)
/quit (or Ctrl-D) leaves; //who says “/who”; the up arrow brings back what you wrote
what you paste is one message, however many lines it has";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_at_the_beginning_of_their_line() {
        for (line, asked) in [
            ("/who ", Asked::Who),
            ("/quit", Asked::Quit),
            ("/help", Asked::Help),
            ("/rooms", Asked::Rooms),
            ("/room  Public Chat ", Asked::Room("Public Chat")),
            ("/search green zypress", Asked::Search("green zypress")),
            ("/reply yes\nindeed", Asked::Reply(None, "yes\nindeed")),
            ("/reply #12 yes", Asked::Reply(Some(12), "yes")),
            ("/edit #one is what I meant", Asked::Edit(None, "#one is what I meant")),
            ("/delete", Asked::Delete(None)),
            ("/delete #3", Asked::Delete(Some(3))),
            ("/show #3", Asked::Show(3)),
            ("/earlier", Asked::Earlier),
            ("/later ", Asked::Later),
            ("/hwo", Asked::Unknown("/hwo")),
            ("  ", Asked::Nothing),
        ] {
            assert_eq!(Asked::read(line), asked, "{line}");
        }
    }

    #[test]
    fn a_slip_is_told_from_another_word() {
        assert_eq!(nearest("/hwo"), Some("/who"));
        assert_eq!(nearest("/serach"), Some("/search"));
        assert_eq!(nearest("/dance"), None);
    }

    #[test]
    fn what_a_command_lacks_is_told() {
        for (line, name) in [
            ("/edit", "/edit"),
            ("/edit #3", "/edit"),
            ("/reply  ", "/reply"),
            ("/search", "/search"),
            ("/room", "/room"),
            ("/delete this", "/delete"),
            ("/show", "/show"),
            ("/show me", "/show"),
            ("/show #3 to me", "/show"),
        ] {
            assert_eq!(Asked::read(line), Asked::Misused(name), "{line}");
        }
    }

    #[test]
    fn what_only_begins_with_a_slash_is_said() {
        for line in
            ["/usr/bin/x failed", "// a comment", "/who is that?", "/later, I think", " indented", "/", "//", "/Who"]
        {
            assert_eq!(Asked::read(line), Asked::Say(line), "{line}");
        }
    }

    #[test]
    fn a_second_slash_says_a_command() {
        assert_eq!(Asked::read("//quit"), Asked::Say("/quit"));
        assert_eq!(Asked::read("//edit it"), Asked::Say("/edit it"));
    }
}

//! What a line asks for: most are messages, a few are commands.

/// The commands, as they are typed.
pub const ALL: [&str; 3] = ["/who", "/quit", "/help"];

#[derive(Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    Nothing,
    Say(&'a str),
    Who,
    Quit,
    Help,
    /// Looks like a command, and is none.
    Unknown(&'a str),
}

impl<'a> Asked<'a> {
    pub fn read(line: &'a str) -> Asked<'a> {
        match line.trim() {
            "" => Asked::Nothing,
            "/who" => Asked::Who,
            "/quit" => Asked::Quit,
            "/help" => Asked::Help,
            word if is_command(word) => Asked::Unknown(word),
            word if word.strip_prefix('/').is_some_and(is_command) => Asked::Say(&word[1..]),
            _ => Asked::Say(line),
        }
    }
}

/// A slash and one word: neither a path nor a comment of a program.
fn is_command(word: &str) -> bool {
    word.strip_prefix('/').is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()))
}

pub const HELP: &str = "\
/who shows who is here; /quit (or Ctrl-D) leaves; /help shows this
the up arrow brings back what you wrote; what you paste may have several lines; //who says “/who”";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_alone_on_their_line() {
        assert_eq!(Asked::read("/who "), Asked::Who);
        assert_eq!(Asked::read("/quit"), Asked::Quit);
        assert_eq!(Asked::read("/help"), Asked::Help);
        assert_eq!(Asked::read("/hwo"), Asked::Unknown("/hwo"));
        assert_eq!(Asked::read("  "), Asked::Nothing);
    }

    #[test]
    fn what_only_begins_with_a_slash_is_said() {
        for line in ["/usr/bin/x failed", "// a comment", "/who is that?", " indented", "/", "//", "/Who"] {
            assert_eq!(Asked::read(line), Asked::Say(line), "{line}");
        }
    }

    #[test]
    fn a_second_slash_says_a_command() {
        assert_eq!(Asked::read("//quit"), Asked::Say("/quit"));
    }
}

//! The file `.env`: settings that a developer keeps beside the program. Reading it never changes this process's
//! environment.
//!
//! Read as Docker Compose reads its environment files, with two differences that keep a secret from being changed
//! silently. First, only in double quotes variables are filled in and escapes replaced, and an unset variable there is
//! an error. Second, a line that can't be read is ignored unless it is about a setting of ours.

use super::{error::SettingError, misspelt, settings};
use std::{
    collections::{HashMap, hash_map::Entry},
    fs, io,
    path::Path,
};

/// The contents of the file.
#[derive(Debug, Default)]
pub struct DotEnv {
    pub values: HashMap<String, String>,
    /// Sentences about lines that probably do not do what was meant.
    pub doubts: Vec<String>,
}

/// Reads the file; a missing file is empty. `environment` gives variables that the file itself does not set.
///
/// Fails if the file can't be read, or a line about a setting of ours. The error has the line's number but not its
/// text, which may hold a secret.
pub fn read(path: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<DotEnv, SettingError> {
    match fs::read(path) {
        Ok(content) => parse(&content, environment),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(DotEnv::default()),
        // In another user's directory, such as root's home, nobody can know whether there is such a file.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied && fs::symlink_metadata(path).is_err() => {
            Ok(DotEnv::default())
        }
        Err(e) => Err(SettingError(format!("the file {} can't be read: {e}", path.display()))),
    }
}

/// If a name is set twice, the first value counts, as in other programs that read `.env`.
fn parse(content: &[u8], environment: impl Fn(&str) -> Option<String>) -> Result<DotEnv, SettingError> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let text = String::from_utf8_lossy(content).replace("\r\n", "\n");
    let mut file = DotEnv::default();
    let mut rest = text.as_str();
    let mut number = 1;
    while !rest.is_empty() {
        let line = first_line(rest);
        let (used, outcome) = match name_of(line) {
            Line::Empty => (line.len(), Ok(None)),
            Line::Strange => (line.len(), Err((None, "a line should be NAME=value".to_owned()))),
            Line::Name(name, at) => match value(&rest[at..], &file.values, &environment) {
                Ok((value, used)) => (at + used, Ok(Some((name, value)))),
                Err(why) => (line.len(), Err((Some(name), why))),
            },
        };
        match outcome {
            Ok(None) => {}
            Ok(Some((name, value))) => keep(name, value, number, &mut file)?,
            Err((name, why)) => {
                let about = name.unwrap_or_else(|| line.split(|c: char| !is_name_part(c)).next().unwrap_or_default());
                if settings::is_variable(about) || misspelt::meant(about).is_some() {
                    return Err(SettingError(format!("line {number} of .env, {about}, can't be read: {why}")));
                }
                file.doubts.push(format!("line {number} of .env can't be read and is left out: {why}"));
            }
        }
        number += rest[..used].matches('\n').count() + 1;
        rest = rest[used..].strip_prefix('\n').unwrap_or(&rest[used..]);
    }
    Ok(file)
}

fn keep(name: &str, value: String, number: usize, file: &mut DotEnv) -> Result<(), SettingError> {
    if settings::is_variable(name) {
        let wrong = |why: &str| Err(SettingError(format!("line {number} of .env, {name}, can't be read: {why}")));
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return wrong("it is not UTF-8");
        }
        if value.contains("-----BEGIN") && !value.contains("-----END") {
            return wrong(
                "PEM text has several lines; put double quotes around all of them, or give the path of a file as \
                 NAME_FILE",
            );
        }
    }
    match file.values.entry(name.to_owned()) {
        Entry::Vacant(free) => drop(free.insert(value)),
        Entry::Occupied(taken) if *taken.get() != value && settings::is_variable(name) => {
            file.doubts.push(format!("line {number} of .env changes nothing: {name} is set above it already"));
        }
        Entry::Occupied(_) => {}
    }
    Ok(())
}

enum Line<'a> {
    Empty,
    /// A name, and where the text after its `=` begins.
    Name(&'a str, usize),
    Strange,
}

fn name_of(line: &str) -> Line<'_> {
    let trimmed = line.trim_start();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Line::Empty;
    }
    let assignment = match trimmed.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        _ => trimmed,
    };
    let Some((name, value)) = assignment.split_once('=') else { return Line::Strange };
    let name = name.trim_end();
    let sound = !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.chars().all(is_name_part);
    if sound { Line::Name(name, line.len() - value.len()) } else { Line::Strange }
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn first_line(text: &str) -> &str {
    text.split('\n').next().unwrap_or_default()
}

/// The value at the start of `text`, and how many bytes it takes, without the end of its line.
fn value(
    text: &str,
    earlier: &HashMap<String, String>,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<(String, usize), String> {
    let line = first_line(text);
    let bare = line.trim_start();
    let start = line.len() - bare.len();
    match bare.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (inside, length) = quoted(&text[start + 1..], quote)?;
            let end = start + 1 + length + 1;
            let behind = first_line(&text[end..]);
            if !behind.trim().is_empty() && !behind.trim_start().starts_with('#') {
                return Err(format!("something stands behind the closing quote; within quotes, write \\{quote}"));
            }
            let value =
                if quote == '"' { filled_in(inside, earlier, environment)? } else { inside.replace("\\'", "'") };
            Ok((value, end + behind.len()))
        }
        _ => {
            // A comment needs white space before it.
            let end = bare
                .char_indices()
                .find(|(at, c)| *c == '#' && (*at == 0 || bare[..*at].ends_with(char::is_whitespace)));
            let value = end.map_or(bare, |(at, _)| &bare[..at]);
            Ok((value.trim_end().to_owned(), line.len()))
        }
    }
}

/// The text before the closing quote, which may be lines away.
fn quoted(text: &str, quote: char) -> Result<(&str, usize), String> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Ok((&text[..at], at)),
            _ => {}
        }
    }
    Err(format!("its opening {quote} is never closed; put the other kind of quotes around it"))
}

/// A double-quoted text with its escapes replaced and its variables filled in.
fn filled_in(
    text: &str,
    earlier: &HashMap<String, String>,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let known = |name: &str| environment(name).or_else(|| earlier.get(name).cloned());
    let mut value = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '$']) {
        value.push_str(&rest[..at]);
        let special = &rest[at..];
        let (put, used) = if let Some(escape) = special.strip_prefix('\\') {
            let c = escape.chars().next().unwrap_or('\\');
            let put = match c {
                'n' => "\n".to_owned(),
                'r' => "\r".to_owned(),
                't' => "\t".to_owned(),
                '\\' | '"' | '$' | '\'' => c.to_string(),
                // Other escapes stay as they are.
                other => format!("\\{other}"),
            };
            (put, 1 + c.len_utf8())
        } else {
            variable(&special[1..], &known)?
        };
        value.push_str(&put);
        rest = &special[used.min(special.len())..];
    }
    value.push_str(rest);
    Ok(value)
}

/// The value of the variable whose `$` is before `text`, and how many bytes its name takes.
fn variable(text: &str, known: &impl Fn(&str) -> Option<String>) -> Result<(String, usize), String> {
    let name_in = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { end }
    };
    let literally = "write \\$ for a dollar sign, or put single quotes around the value";
    let (name, default, used) = match text.strip_prefix('{') {
        Some(braced) => {
            let inside = braced.split_once('}').ok_or_else(|| format!("a ${{ in it has no }}; {literally}"))?.0;
            let (name, operator) = inside.split_at(name_in(inside));
            let default = operator.strip_prefix(":-").or(operator.strip_prefix('-'));
            if name.is_empty() || !operator.is_empty() && default.is_none() {
                return Err(format!("a ${{…}} in it is neither ${{NAME}} nor ${{NAME:-default}}; {literally}"));
            }
            (name, default, 1 + 1 + inside.len() + 1)
        }
        None => (&text[..name_in(text)], None, 1 + name_in(text)),
    };
    if name.is_empty() {
        return Ok(("$".to_owned(), 1));
    }
    match (known(name).filter(|value| default.is_none() || !value.is_empty()), default) {
        (Some(value), _) => Ok((value, used)),
        (None, Some(default)) => Ok((default.to_owned(), used)),
        // `DATABASE_URL` fills in this one by itself.
        (None, None) if name == settings::DATA_DIR.name => Ok((format!("${text}")[..used].to_owned(), used)),
        (None, None) => Err(format!("a variable in it is not set; {literally}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(content: &str) -> Result<DotEnv, SettingError> {
        parse(content.as_bytes(), |name| (name == "HOME").then(|| "/home/ann".to_owned()))
    }

    #[track_caller]
    fn value_of(line: &str) -> String {
        let file = file(line).unwrap();
        assert!(file.doubts.is_empty(), "{line}: {:?}", file.doubts);
        file.values.into_values().next().unwrap_or_else(|| panic!("nothing in {line}"))
    }

    #[track_caller]
    fn refused(content: &str) -> String {
        file(content).unwrap_err().to_string()
    }

    #[test]
    fn no_file_says_nothing() {
        assert!(read(Path::new("/nowhere/.env"), |_| None).unwrap().values.is_empty());
    }

    #[test]
    fn a_dotenv_file_holds_names_and_values() {
        let values = file("\u{feff}# chat\nLISTEN=:80 # all\r\nexport LOG_LEVEL='debug'\n").unwrap().values;
        assert_eq!(values.get("LISTEN").map(String::as_str), Some(":80"));
        assert_eq!(values.get("LOG_LEVEL").map(String::as_str), Some("debug"));
    }

    #[test]
    fn an_unquoted_value_is_what_stands_there() {
        for (line, value) in [
            ("STREAM_PUBLISH_KEY=ab$XyZ0123456789abcdef", "ab$XyZ0123456789abcdef"),
            ("DATABASE_URL=sqlite:$DATA_DIR/chat.db", "sqlite:$DATA_DIR/chat.db"),
            ("STREAM_PUBLISH_KEY=a\\nb\\c", "a\\nb\\c"),
            ("STREAM_PUBLISH_KEY=Ann's own key", "Ann's own key"),
            ("STREAM_PUBLISH_KEY=two words  ", "two words"),
            ("STREAM_PUBLISH_KEY=a=b==", "a=b=="),
            ("STREAM_PUBLISH_KEY=a#b", "a#b"),
            ("STREAM_PUBLISH_KEY=a #b", "a"),
            ("STREAM_PUBLISH_KEY= # nothing", ""),
            ("  STREAM_PUBLISH_KEY = spaced", "spaced"),
            ("STREAM_PUBLISH_KEY=\"", "\""),
        ] {
            if line.ends_with('"') {
                assert!(refused(line).contains("never closed"));
            } else {
                assert_eq!(value_of(line), value, "{line}");
            }
        }
    }

    #[test]
    fn single_quotes_keep_all_but_the_quote() {
        assert_eq!(value_of("A='$HOME \\n \"x\" # y' # comment"), "$HOME \\n \"x\" # y");
        assert_eq!(value_of("A='Let\\'s go'"), "Let's go");
        assert_eq!(value_of("A='one\ntwo'"), "one\ntwo");
    }

    #[test]
    fn double_quotes_unescape_and_fill_in() {
        assert_eq!(value_of(r#"A="a\nb\t\"c\" \\ \$HOME \d""#), "a\nb\t\"c\" \\ $HOME \\d");
        assert_eq!(value_of(r#"A="$HOME/x ${HOME}y ${NONE:-z} $5 $""#), "/home/ann/x /home/anny z $5 $");
        assert_eq!(file("A=one\nB=\"${A} two\"").unwrap().values["B"], "one two");
        assert_eq!(value_of("DATABASE_URL=\"sqlite:$DATA_DIR/chat.db\""), "sqlite:$DATA_DIR/chat.db");
        assert_eq!(
            value_of("JWT_PRIVATE_KEY=\"-----BEGIN X-----\nAA\n-----END X-----\""),
            "-----BEGIN X-----\nAA\n-----END X-----"
        );
    }

    #[test]
    fn a_variable_that_is_not_set_is_no_empty_text() {
        let error = refused("LISTEN=:80\nSTREAM_PUBLISH_KEY=\"ab$XyZ0123\"\n");
        assert!(error.starts_with("line 2 of .env, STREAM_PUBLISH_KEY,") && error.contains("\\$"), "{error}");
        assert!(!error.contains("XyZ"), "{error}");
    }

    #[test]
    fn lines_of_another_program_stop_nothing() {
        let laravel = "APP_NAME=Propromo\nAPP_KEY=base64:x==\nMAIL_FROM_NAME=\"${APP_NAME}\"\nVITE=\"${NOT_SET}\"\n\
                       BROKEN='\njust words\nSTREAM_PUBLISH_KEY=key\n";
        let file = file(laravel).unwrap();
        assert_eq!(file.values["STREAM_PUBLISH_KEY"], "key");
        assert_eq!(file.values["MAIL_FROM_NAME"], "Propromo");
        let lines: Vec<_> = file.doubts.iter().map(|doubt| doubt.split(' ').nth(1).unwrap_or_default()).collect();
        assert_eq!(lines, ["4", "5", "6"], "{:?}", file.doubts);
    }

    #[test]
    fn a_line_of_ours_that_cannot_be_read_is_named_without_its_text() {
        for content in [
            "LISTEN=:80\n\nJWT_PRIVATE_KEY s3cret\n",
            "A='x\ny'\nJWT_PRIVATE_KEY='s3cret\n",
            "\n\nJWT_PRIVATE_KEY=\"s3cret\" more\n",
            "\n\nJWT_PRIVATE_KEY=-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n",
        ] {
            let error = refused(content);
            assert!(error.starts_with("line 3 of .env, JWT_PRIVATE_KEY,") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn the_first_of_two_counts_and_the_second_is_told() {
        let file = file("LISTEN=:80\nA=1\nA=2\nLISTEN=:81\n").unwrap();
        assert_eq!((file.values["LISTEN"].as_str(), file.values["A"].as_str()), (":80", "1"));
        assert_eq!(file.doubts, ["line 4 of .env changes nothing: LISTEN is set above it already"]);
    }

    proptest! {
        #[test]
        fn no_dotenv_file_panics(content in "(\\PC|\n|\"|'|\\\\|\\$|\\{|\\}|#|=|A){0,60}") {
            let _ = file(&content);
        }

        #[test]
        fn an_unquoted_value_is_never_changed(value in "[!-~&&[^\"'#]][ -~&&[^#]]{0,40}[!-~&&[^#]]") {
            prop_assert_eq!(value_of(&format!("STREAM_PUBLISH_KEY={value}")), value);
        }
    }
}

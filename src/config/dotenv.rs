//! The file `.env`: settings that a developer keeps beside the program. It never changes this process's environment.

use super::error::SettingError;
use std::{collections::HashMap, fs, io, path::Path};

/// What the file says; nothing, if there is none.
///
/// Fails if it can't be read, naming the place but not the line, which may hold a secret.
pub fn read(path: &Path) -> Result<HashMap<String, String>, SettingError> {
    match fs::read(path) {
        Ok(content) => parse(&content),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(e) => Err(SettingError(format!("the file {} can't be read: {e}", path.display()))),
    }
}

/// Of a name given twice the first counts, as dotenv programs have it.
fn parse(content: &[u8]) -> Result<HashMap<String, String>, SettingError> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut values = HashMap::new();
    let mut last = None;
    for line in dotenvy::from_read_iter(content) {
        // The library's error repeats the line, which may hold a secret.
        let (name, value) = line.map_err(|_| {
            let place = last.as_ref().map_or("at its start".into(), |name| format!("behind the line of {name}"));
            SettingError(format!("the file .env can't be read {place}: a line should be NAME=value"))
        })?;
        values.entry(name.clone()).or_insert(value);
        last = Some(name);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_file_says_nothing() {
        assert!(read(Path::new("/nowhere/.env")).unwrap().is_empty());
    }

    #[test]
    fn a_dotenv_file_holds_names_and_values() {
        let values = parse(b"\xef\xbb\xbf# chat\nLISTEN=:80 # all\nexport LOG_LEVEL='debug'\nLISTEN=:81\n").unwrap();
        assert_eq!(values.get("LISTEN").map(String::as_str), Some(":80"));
        assert_eq!(values.get("LOG_LEVEL").map(String::as_str), Some("debug"));
    }

    #[test]
    fn a_dotenv_line_that_cannot_be_read_is_named_without_its_text() {
        let error = parse(b"LISTEN=:80\nJWT_PRIVATE_KEY s3cret\n").unwrap_err().to_string();
        assert!(error.contains("behind the line of LISTEN") && !error.contains("s3cret"), "{error}");
    }

    proptest! {
        #[test]
        fn no_dotenv_file_panics(content in "(\\PC|\n|\"|'|\\\\|\\$|#|=){0,60}") {
            let _ = parse(content.as_bytes());
        }
    }
}

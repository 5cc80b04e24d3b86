//! The settings file in TOML, with `message_rate = "20/s"` for `MESSAGE_RATE`.
//!
//! Errors have the number of the line, but never its text, which may hold a secret.

use super::{
    error::SettingError,
    misspelt,
    provenance::{At, Origin},
    settings::{self, CONFIG, Form, Setting},
};
use std::{collections::HashMap, fs, io, path::Path, sync::Arc};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Most bytes of the file: far more than any settings. So a path to a device or a disk image can't fill the memory.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The contents of the file.
#[derive(Debug, Default)]
pub struct SettingsFile {
    /// The path of the file; `None` if there is none.
    pub path: Option<Arc<Path>>,
    /// By variable, each with the line in which it begins.
    values: HashMap<String, (String, usize)>,
}

impl SettingsFile {
    pub fn get(&self, variable: &str) -> Option<&str> {
        self.values.get(variable).map(|(text, _)| text.as_str())
    }

    /// The place of a value.
    pub fn at(&self, variable: &str) -> Option<At> {
        let (path, (_, line)) = (self.path.as_ref()?, self.values.get(variable)?);
        Some(At { path: path.clone(), line: *line })
    }
}

/// Reads the file that `named` names. Only the default file may be missing.
pub fn read(path: &Path, named: &Origin) -> Result<SettingsFile, SettingError> {
    let fail = |why: &dyn std::fmt::Display| {
        let without = format!("--{} /dev/null does without", settings::flag(CONFIG.name));
        let named = if named.is_default() {
            format!("{} exists, but", path.display())
        } else {
            format!("{named} names {}, which", path.display())
        };
        SettingError(format!("{named} can't be read: {why} ({without})"))
    };
    if named.is_default() {
        match fs::symlink_metadata(path) {
            Ok(_) => {}
            // If this user can't read the directory, nobody can know whether there is such a file.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(SettingsFile::default());
            }
            Err(e) => return Err(fail(&e)),
        }
    }
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|e| fail(&e))?;
    io::Read::read_to_string(&mut io::Read::take(file, MAX_FILE + 1), &mut text).map_err(|e| fail(&e))?;
    if text.len() as u64 > MAX_FILE {
        return Err(fail(&"it is too large to be settings"));
    }
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<SettingsFile, SettingError> {
    let path: Arc<Path> = path.into();
    let line_of = |offset: usize| text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    let at = |offset: usize| At { path: path.clone(), line: line_of(offset) };
    let table = DeTable::parse(text).map_err(|e| {
        let what = e.message().lines().collect::<Vec<_>>().join(", ");
        SettingError(format!("{} is no TOML: {what}", at(e.span().map_or(0, |span| span.start))))
    })?;
    let mut values = HashMap::new();
    let mut wrong = Vec::new();
    for (key, value) in table.get_ref() {
        let offset = key.span().start;
        match one(key.get_ref(), value) {
            Ok((variable, text)) => drop(values.insert(variable, (text, line_of(offset)))),
            Err(why) => wrong.push((offset, format!("{}: {why}", at(offset)))),
        }
    }
    wrong.sort();
    match wrong.is_empty() {
        true => Ok(SettingsFile { path: Some(path), values }),
        false => Err(SettingError(wrong.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("; "))),
    }
}

/// The variable for a key, and its text; or a sentence about what is wrong.
fn one(key: &str, value: &Spanned<DeValue<'_>>) -> Result<(String, String), String> {
    let shown: String = key.chars().take(60).collect::<String>().escape_debug().collect();
    let variable = key.to_ascii_uppercase();
    let setting = settings::of_variable(&variable).filter(|_| settings::key(&variable) == key);
    let Some(setting) = setting else {
        let meant = misspelt::meant(key).or_else(|| settings::of_variable(&variable).map(|_| variable.clone()));
        let hint = meant.map(|meant| format!("; did you mean {}?", settings::key(&meant))).unwrap_or_default();
        return Err(match value.get_ref() {
            DeValue::Table(_) if hint.is_empty() => format!("{shown} is no setting, and settings have no sections"),
            _ => format!("{shown} is no setting{hint}"),
        });
    };
    if setting.name == CONFIG.name {
        return Err(format!("{shown} names this file, so it can't stand in it"));
    }
    let text = text(setting, value.get_ref());
    text.map(|text| (variable, text)).ok_or_else(|| {
        let list = if setting.form.is_list() { ", or a list of texts" } else { "" };
        format!("{shown} should be text, a number, true or false{list}")
    })
}

/// A value as the text that it would be in a variable.
fn text(setting: &Setting, value: &DeValue<'_>) -> Option<String> {
    Some(match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().trim_start_matches('+').replace('_', ""),
        DeValue::Integer(number) => {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()?.to_string()
        }
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(switch) => switch.to_string(),
        DeValue::Array(list) if setting.form.is_list() => {
            let texts = list.iter().map(|entry| entry.get_ref().as_str());
            texts.collect::<Option<Vec<_>>>()?.join(",")
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => return None,
    })
}

/// A file with all settings, each as a comment with its meaning and its default.
pub fn template() -> String {
    let mut file = String::from(
        "# Settings of propromo-chat. Each stands here with its default: take the # away where you change one.\n\
         # Flags, the environment, systemd credentials and ./.env win over this file. `propromo-chat check` says what is\n\
         # wrong. If you write secrets here, let nobody read this file but the user that the server runs as.\n",
    );
    for setting in settings::ALL.iter().filter(|setting| setting.name != CONFIG.name) {
        file.push('\n');
        let form = setting.form.described();
        for line in wrapped(setting.meaning).into_iter().chain(wrapped(&form)) {
            file += &format!("# {line}\n");
        }
        let key = settings::key(setting.name);
        file += &format!("#{key} = {}\n", toml_default(setting));
        if setting.may_be_a_file() && !matches!(setting.form, Form::Pem) {
            file += &format!("#{key}_file = \"\"\n");
        }
    }
    file
}

fn toml_default(setting: &Setting) -> String {
    match setting.form {
        Form::Count(_) | Form::Switch => setting.default.to_owned(),
        _ if setting.form.is_list() && setting.default.is_empty() => "[]".to_owned(),
        _ => format!("\"{}\"", setting.default),
    }
}

/// Lines of at most 110 characters.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 110;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> Result<SettingsFile, SettingError> {
        parse(text, Path::new("/etc/chat.toml"))
    }

    #[track_caller]
    fn refused(text: &str) -> String {
        file(text).unwrap_err().to_string()
    }

    #[test]
    fn values_are_text_numbers_switches_and_lists() {
        let file = file(
            "listen = \":80\"\nmax_body = 65_536\nmax_head = 0x4000\norigin_required = true\n\
             trusted_proxies = [\"10.0.0.0/8\", '::1']\njwt_private_key = '''\na\nb\n'''\nport = 8080 # too\n",
        )
        .unwrap();
        for (variable, text) in [
            ("LISTEN", ":80"),
            ("MAX_BODY", "65536"),
            ("MAX_HEAD", "16384"),
            ("ORIGIN_REQUIRED", "true"),
            ("TRUSTED_PROXIES", "10.0.0.0/8,::1"),
            ("JWT_PRIVATE_KEY", "a\nb\n"),
            ("PORT", "8080"),
        ] {
            assert_eq!(file.get(variable), Some(text), "{variable}");
        }
        assert_eq!(file.at("PORT").unwrap().to_string(), "line 10 of /etc/chat.toml");
    }

    #[test]
    fn a_key_that_is_no_setting_is_refused_with_what_was_meant() {
        for (text, sentence) in [
            ("\nmesage_rate = 5", "line 2 of /etc/chat.toml: mesage_rate is no setting; did you mean message_rate?"),
            ("MESSAGE_RATE = 5", "line 1 of /etc/chat.toml: MESSAGE_RATE is no setting; did you mean message_rate?"),
            ("message-rate = 5", "line 1 of /etc/chat.toml: message-rate is no setting; did you mean message_rate?"),
            ("colour = 5", "line 1 of /etc/chat.toml: colour is no setting"),
            (
                "[server]\nlisten = \":80\"",
                "line 1 of /etc/chat.toml: server is no setting, and settings have no sections",
            ),
            ("config = \"x\"", "line 1 of /etc/chat.toml: config names this file, so it can't stand in it"),
            ("max_body_file = \"x\"", "line 1 of /etc/chat.toml: max_body_file is no setting"),
        ] {
            assert_eq!(refused(text), sentence, "{text}");
        }
        let both = refused("mesage_rate = 5\nlisten = 1\nmax_bodi = 3\n");
        assert!(both.contains("line 1 of") && both.contains("; line 3 of"), "{both}");
    }

    #[test]
    fn a_value_of_no_use_is_refused() {
        for text in ["max_head = [\"a\"]", "max_body = 1979-05-27", "listen.port = 1", "trusted_proxies = [1]"] {
            assert!(refused(text).contains(" should be text, a number, true or false"), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn what_is_no_toml_is_told_by_its_line_alone() {
        for text in
            ["listen = \":80\"\njwt_private_key = s3cret\n", "listen = 1\nlisten = \"s3cret\"", "a = 1\n= s3cret"]
        {
            let error = refused(text);
            assert!(error.starts_with("line 2 of /etc/chat.toml is no TOML: ") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn the_template_says_nothing_until_its_comments_are_taken_away() {
        assert!(file(&template()).unwrap().values.is_empty());
        let said: String = template()
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with(' '))
            .map(|line| format!("{line}\n"))
            .collect();
        let file = file(&said).unwrap();
        for setting in settings::ALL.iter().filter(|setting| setting.name != CONFIG.name) {
            assert_eq!(file.get(setting.name), Some(setting.default), "{}", setting.name);
        }
    }

    proptest! {
        #[test]
        fn no_settings_file_panics(any in "\\PC*", near in "([a-z_]{1,12}|listen|=|\\[|\\]|\"|'|\n|\\{|\\}|[0-9.]{1,3}| |,|#){0,40}") {
            let _ = (file(&any), file(&near));
        }
    }
}

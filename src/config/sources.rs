//! Settings as the user gave them: flag over environment over credential over `.env` over default.

use super::{
    dotenv::{self, DotEnv},
    endpoint::WebhookUrl,
    error::SettingError,
    misspelt,
    mistaken::Mistake,
    origin::{Layer, Origin},
    secret_file::{self, readable_by_others},
    settings::{self, ALL, DATA_DIR, Form, Setting},
    value::Expected,
};
use crate::{auth::pem::is_pem, redact};
use std::{
    collections::HashMap,
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Where settings may come from, gathered but not judged.
#[derive(Default)]
pub struct Sources {
    /// By variable: `--message-rate` is `MESSAGE_RATE`.
    pub flags: HashMap<String, String>,
    pub environment: HashMap<OsString, OsString>,
    pub dotenv: DotEnv,
}

impl Sources {
    /// The flags, this process's environment, and `.env` in the current directory.
    ///
    /// Fails if there is a `.env` that can't be read.
    pub fn gather(flags: HashMap<String, String>) -> Result<Sources, SettingError> {
        let dotenv = dotenv::read(Path::new(".env"), |name| env::var(name).ok())?;
        Ok(Sources { flags, environment: env::vars_os().collect(), dotenv })
    }

    fn environment(&self, variable: &str) -> Result<Option<&str>, SettingError> {
        let value = self.environment.get(OsStr::new(variable));
        value
            .map(|value| {
                value.to_str().ok_or_else(|| SettingError(format!("{variable} in the environment is no UTF-8")))
            })
            .transpose()
    }

    fn get(&self, layer: Layer, variable: &str) -> Result<Option<&str>, SettingError> {
        let text = match layer {
            Layer::Flag => self.flags.get(variable).map(String::as_str),
            Layer::Environment => self.environment(variable)?,
            Layer::DotEnv => self.dotenv.values.get(variable).map(String::as_str),
            Layer::Credential | Layer::StateDirectory | Layer::Default => None,
        };
        Ok(text.filter(|text| !text.trim().is_empty()))
    }
}

/// Every setting that has a value, as text, and where it came from.
pub struct Settings {
    given: HashMap<&'static str, Given>,
    /// What is allowed but unwise.
    pub warnings: Vec<String>,
}

struct Given {
    text: String,
    origin: Origin,
}

impl Settings {
    /// Chooses each setting's value. Reads the files that `NAME_FILE` and systemd credentials name.
    ///
    /// Fails if a secret is given twice, or its file can't be read, or a flag shows a password to everybody.
    pub fn resolve(sources: &Sources) -> Result<Settings, SettingError> {
        let mut settings = Settings { given: HashMap::new(), warnings: Vec::new() };
        for setting in ALL {
            if let Some(given) = settings.choose(setting, sources)? {
                settings.given.insert(setting.name, given);
            }
        }
        settings.warnings.extend(misspelt_names(sources));
        settings.warnings.extend(sources.dotenv.doubts.iter().cloned());
        Ok(settings)
    }

    fn choose(&mut self, setting: &'static Setting, sources: &Sources) -> Result<Option<Given>, SettingError> {
        for layer in [Layer::Flag, Layer::Environment, Layer::Credential, Layer::DotEnv] {
            for name in setting.names() {
                let given = match layer {
                    Layer::Credential => credential(setting, name, sources)?,
                    _ => self.in_layer(setting, name, layer, sources)?,
                };
                if given.is_some() {
                    return Ok(given);
                }
            }
        }
        if setting.name == DATA_DIR.name
            && let Some(directories) = sources.environment("STATE_DIRECTORY")?
            && let Some(first) = directories.split(':').find(|d| !d.is_empty())
        {
            let origin = Origin { layer: Layer::StateDirectory, variable: setting.name.into() };
            return Ok(Some(Given { text: first.into(), origin }));
        }
        let origin = Origin { layer: Layer::Default, variable: setting.name.into() };
        Ok((!setting.default.is_empty()).then(|| Given { text: setting.default.into(), origin }))
    }

    fn in_layer(
        &mut self,
        setting: &Setting,
        name: &str,
        layer: Layer,
        sources: &Sources,
    ) -> Result<Option<Given>, SettingError> {
        let direct = sources.get(layer, name)?;
        let file_variable = format!("{name}_FILE");
        let file = if setting.may_be_a_file() { sources.get(layer, &file_variable)? } else { None };
        match (direct, file) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                let (one, other) = (Origin { layer, variable: name.into() }, Origin { layer, variable: file_variable });
                Err(SettingError(format!("{one} and {other} are both given; give one of them")))
            }
            (Some(text), None) => {
                let origin = Origin { layer, variable: name.into() };
                if layer == Layer::Flag && redact::has_password(text) {
                    return Err(SettingError(format!(
                        "{origin} holds a password, which every user of this machine could read; \
                         set {name} in the environment or give --{}",
                        settings::flag(&file_variable)
                    )));
                }
                if layer == Layer::Flag && matches!(setting.form, Form::Pem) && is_pem(text) {
                    return Err(SettingError(format!(
                        "{origin} holds PEM text, which every user of this machine could read; give the path of a file"
                    )));
                }
                if layer == Layer::DotEnv && setting.is_secret() && readable_by_others(Path::new(".env")) {
                    self.warnings.push(format!("every user of this machine can read {name} in .env; chmod 600 it"));
                }
                Ok(Some(Given { text: text.into(), origin }))
            }
            // Read where it is used, and again when it has been renewed.
            (None, Some(path)) if matches!(setting.form, Form::Pem) => {
                Ok(Some(Given { text: path.into(), origin: Origin { layer, variable: file_variable } }))
            }
            (None, Some(path)) => {
                let (path, origin) = (Path::new(path), Origin { layer, variable: file_variable });
                let text = secret_file::read(path, &origin)?;
                let public = text.contains("-----BEGIN") && !text.contains("PRIVATE");
                if !public && readable_by_others(path) {
                    self.warnings.push(format!(
                        "every user of this machine can read {}, the file of {origin}; chmod 600 it",
                        path.display()
                    ));
                }
                Ok(Some(Given { text, origin }))
            }
        }
    }

    /// The text of a setting, if it has one.
    pub fn text(&self, setting: &Setting) -> Option<&str> {
        self.given.get(setting.name).map(|given| given.text.as_str())
    }

    /// Where the value of a setting came from, if it has one.
    pub fn origin(&self, setting: &Setting) -> Option<&Origin> {
        self.given.get(setting.name).map(|given| &given.origin)
    }

    /// Whether a setting has a value that somebody chose.
    pub fn is_given(&self, setting: &Setting) -> bool {
        self.origin(setting).is_some_and(|origin| origin.layer != Layer::Default)
    }

    /// Reads a setting that has a default.
    pub fn get<T>(&self, setting: &Setting, read: impl FnOnce(&str) -> Result<T, Expected>) -> Result<T, SettingError> {
        read(self.text(setting).unwrap_or_default()).map_err(|expected| self.unreadable(setting, &expected))
    }

    /// Reads a setting that need not be given.
    pub fn optional<T>(
        &self,
        setting: &Setting,
        read: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Result<Option<T>, SettingError> {
        self.text(setting).map(|_| self.get(setting, read)).transpose()
    }

    /// The error of a setting whose text is not what it should be.
    pub fn unreadable(&self, setting: &Setting, expected: &str) -> SettingError {
        let name = self.name_of(setting);
        SettingError(match self.shown(setting) {
            Some(shown) => format!("{name} is \"{}\"; it should be {expected}", shown.escape_debug()),
            None => format!("{name} can't be read; it should be {expected}"),
        })
    }

    /// Why the text of a secret is none, if it is a path, a placeholder or the like.
    pub fn mistaken(&self, setting: &Setting) -> Option<SettingError> {
        let mistake = self.text(setting).and_then(Mistake::in_secret)?;
        Some(SettingError(format!("{} {}", self.name_of(setting), mistake.sentence(setting.name))))
    }

    /// How to name a setting to whoever has to change it: with the place it came from.
    pub fn name_of(&self, setting: &Setting) -> String {
        self.origin(setting).map_or_else(|| setting.name.to_owned(), Origin::to_string)
    }

    /// The text of a setting as it may be shown: not if secret, without the password of a URL.
    pub fn shown(&self, setting: &Setting) -> Option<String> {
        let text = self.text(setting).filter(|_| !setting.is_secret())?;
        Some(match setting.form {
            // What is no URL, but should be, may be a password pasted into the wrong line.
            Form::Database | Form::Storage if setting.form.check(text).is_err() => return None,
            Form::Database | Form::Storage => redact::without_password(text),
            Form::Endpoint => return WebhookUrl::parse(text).ok().map(|url| format!("{url:?}")),
            Form::Pem if is_pem(text) => return None,
            _ if text.chars().count() > 80 => text.chars().take(80).chain(['…']).collect(),
            _ => text.to_owned(),
        })
    }

    /// The same, with times and sizes in the units that are read best.
    pub fn printed(&self, setting: &Setting) -> Option<String> {
        self.text(setting).and_then(|text| setting.form.readable(text)).or_else(|| self.shown(setting))
    }
}

/// A sentence for each name that is nearly a setting's.
fn misspelt_names(sources: &Sources) -> Vec<String> {
    let environment =
        sources.environment.keys().filter_map(|name| name.to_str()).map(|name| (name, Layer::Environment));
    let dotenv = sources.dotenv.values.keys().map(|name| (name.as_str(), Layer::DotEnv));
    let mut sentences: Vec<_> = environment
        .chain(dotenv)
        .filter_map(|(name, layer)| {
            let meant = misspelt::meant(name)?;
            let origin = Origin { layer, variable: name.into() };
            Some(format!("{origin} is no setting and changes nothing; did you mean {meant}?"))
        })
        .collect();
    sentences.sort();
    sentences
}

/// A systemd credential (`LoadCredential=`): a file in a directory that only this service can read.
fn credential(setting: &Setting, name: &str, sources: &Sources) -> Result<Option<Given>, SettingError> {
    let Some(directory) = sources.environment("CREDENTIALS_DIRECTORY")?.filter(|d| !d.is_empty()) else {
        return Ok(None);
    };
    if !setting.may_be_a_file() {
        return Ok(None);
    }
    for variable in [name.to_owned(), name.to_ascii_lowercase()] {
        let path = PathBuf::from(directory).join(&variable);
        if path.exists() {
            let origin = Origin { layer: Layer::Credential, variable };
            if matches!(setting.form, Form::Pem) {
                return Ok(Some(Given { text: path.to_string_lossy().into_owned(), origin }));
            }
            return Ok(Some(Given { text: secret_file::read(&path, &origin)?, origin }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::settings::*;
    use super::*;
    use proptest::prelude::*;
    use std::{fs, io::Write, os::unix::fs::PermissionsExt};

    fn sources(flags: &[(&str, &str)], environment: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Sources {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Sources {
            flags: owned(flags),
            environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            dotenv: DotEnv { values: owned(dotenv), doubts: Vec::new() },
        }
    }

    fn resolve(flags: &[(&str, &str)], environment: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Settings {
        Settings::resolve(&sources(flags, environment, dotenv)).unwrap()
    }

    fn refused(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> String {
        Settings::resolve(&sources(flags, environment, &[])).err().expect("refused").to_string()
    }

    fn secret_in_a_file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_flag_wins_over_the_environment_over_dotenv_over_the_default() {
        let layers: [&[(&str, &str)]; 3] = [&[("MAX_BODY", "1")], &[("MAX_BODY", "2")], &[("MAX_BODY", "3")]];
        let text = |settings: Settings| settings.text(&MAX_BODY).map(str::to_owned);
        assert_eq!(text(resolve(layers[0], layers[1], layers[2])).as_deref(), Some("1"));
        assert_eq!(text(resolve(&[], layers[1], layers[2])).as_deref(), Some("2"));
        assert_eq!(text(resolve(&[], &[], layers[2])).as_deref(), Some("3"));
        assert_eq!(text(resolve(&[], &[], &[])).as_deref(), Some("64KiB"));
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        let settings = resolve(&[("LISTEN", "")], &[("LISTEN", " ")], &[("LISTEN", ":80")]);
        assert_eq!(settings.text(&LISTEN), Some(":80"));
    }

    #[test]
    fn an_unknown_variable_is_none_of_ours() {
        assert!(resolve(&[], &[("LISTENERS", "x"), ("MAX_BODIES", "y")], &[("ELSE", "z")]).warnings.is_empty());
    }

    #[test]
    fn a_variable_that_is_nearly_ours_is_told() {
        let settings = resolve(&[], &[("LISTENER", "x"), ("MAX_BODI", "y")], &[("JWT_OLD_KEY_FILE", "z")]);
        assert_eq!(
            settings.warnings,
            [
                "JWT_OLD_KEY_FILE in .env is no setting and changes nothing; did you mean JWT_OLD_KEYS_FILE?",
                "LISTENER in the environment is no setting and changes nothing; did you mean LISTEN?",
                "MAX_BODI in the environment is no setting and changes nothing; did you mean MAX_BODY?",
            ]
        );
    }

    #[test]
    fn listen_wins_over_port() {
        assert_eq!(resolve(&[], &[("PORT", "8080")], &[]).text(&LISTEN), Some("8080"));
        assert_eq!(resolve(&[], &[("PORT", "8080"), ("LISTEN", ":1")], &[]).text(&LISTEN), Some(":1"));
    }

    #[test]
    fn the_state_directory_of_systemd_is_the_data_directory() {
        let state = ("STATE_DIRECTORY", "/var/lib/chat:/var/lib/other");
        assert_eq!(resolve(&[], &[state], &[]).text(&DATA_DIR), Some("/var/lib/chat"));
        assert_eq!(resolve(&[], &[state, ("DATA_DIR", "/srv")], &[]).text(&DATA_DIR), Some("/srv"));
    }

    #[test]
    fn a_secret_may_come_from_a_file_without_its_last_newline() {
        let file = secret_in_a_file("s3cret\n", 0o600);
        let path = file.path().to_str().unwrap();
        let settings = resolve(&[], &[("STREAM_PUBLISH_KEY_FILE", path)], &[]);
        assert_eq!(settings.text(&STREAM_PUBLISH_KEY), Some("s3cret"));
        assert!(settings.warnings.is_empty());
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_warned_of() {
        let file = secret_in_a_file("s3cret", 0o644);
        let path = file.path().to_str().unwrap();
        let settings = resolve(&[("STREAM_PUBLISH_KEY_FILE", path)], &[], &[]);
        assert!(settings.warnings[0].contains("--stream-publish-key-file"), "{:?}", settings.warnings);
        assert!(!settings.warnings[0].contains("s3cret"));
    }

    #[test]
    fn a_secret_given_twice_is_refused() {
        let file = secret_in_a_file("other", 0o600);
        let path = file.path().to_str().unwrap();
        let error = refused(&[], &[("JWT_PRIVATE_KEY", "s3cret"), ("JWT_PRIVATE_KEY_FILE", path)]);
        assert!(error.contains("JWT_PRIVATE_KEY_FILE in the environment are both given"), "{error}");
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn a_secret_file_that_is_missing_or_empty_is_refused() {
        let empty = secret_in_a_file("\n", 0o600);
        assert!(refused(&[], &[("JWT_PRIVATE_KEY_FILE", "/nowhere/key")]).contains("/nowhere/key"));
        assert!(refused(&[], &[("JWT_PRIVATE_KEY_FILE", empty.path().to_str().unwrap())]).contains("is empty"));
    }

    #[test]
    fn a_systemd_credential_has_the_name_in_either_case() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("jwt_private_key"), "lower\n").unwrap();
        fs::write(directory.path().join("STREAM_JWT_SECRET"), "upper").unwrap();
        let settings = resolve(&[], &[("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap())], &[]);
        assert_eq!(settings.text(&JWT_PRIVATE_KEY), Some("lower"));
        assert_eq!(settings.text(&STREAM_JWT_SECRET), Some("upper"));
    }

    #[test]
    fn a_password_in_a_flag_is_refused() {
        let error = refused(&[("DATABASE_URL", "postgres://chat:s3cret@db/chat")], &[]);
        assert!(error.contains("--database-url-file") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn an_error_says_where_the_value_came_from_and_what_it_should_be() {
        let settings = resolve(&[("MAX_BODY", "big")], &[("MAX_HEAD", "huge")], &[("PING_INTERVAL", "0")]);
        let error = |setting: &Setting| {
            let checked = settings.get(setting, |text| setting.form.check(text));
            checked.unwrap_err().to_string()
        };
        assert_eq!(
            error(&MAX_BODY),
            "--max-body is \"big\"; it should be a size from 1B to 64MiB: a number of bytes, or such as 64KiB, 1MB or 2GiB"
        );
        assert!(error(&MAX_HEAD).starts_with("MAX_HEAD in the environment is \"huge\";"));
        assert!(error(&PING_INTERVAL).starts_with("PING_INTERVAL in .env is \"0\";"));
    }

    #[test]
    fn an_error_is_one_line_without_secrets() {
        let settings =
            resolve(&[], &[("JWT_PRIVATE_KEY", "s3cret"), ("LISTEN", "a\nb"), ("REDIS_URL", "hunter2")], &[]);
        assert!(!settings.unreadable(&JWT_PRIVATE_KEY, "a key").to_string().contains("s3cret"));
        assert!(!settings.unreadable(&LISTEN, "an address").to_string().contains('\n'));
        assert!(!settings.unreadable(&CHAT_STORAGE_URL, "a URL").to_string().contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_value_panics(text in "\\PC*") {
            let given: Vec<_> = ALL.iter().map(|s| (s.name, text.as_str())).collect();
            if let Ok(settings) = Settings::resolve(&sources(&[], &given, &[])) {
                for setting in ALL {
                    let _ = settings.shown(setting);
                }
            }
        }
    }
}

//! Chooses the value of each setting: flag over environment over credential over `.env` over settings file over
//! default.

use super::{
    dotenv,
    endpoint::WebhookUrl,
    error::SettingError,
    layers::{Found, Sources},
    mistaken::Mistake,
    provenance::{Layer, Origin},
    secret_file::{self, readable_by_others},
    settings::{self, ALL, CONFIG, DATA_DIR, Form, Setting},
    settings_file::{self, SettingsFile},
    value::Expected,
};
use crate::{auth::pem::is_pem, redact};
use std::{borrow::Cow, collections::HashMap, env, path::Path, sync::Arc};

/// Every setting that has a value, as text, and its origin.
pub struct Settings {
    given: HashMap<&'static str, Given>,
    /// Settings that are allowed but unwise.
    pub warnings: Vec<String>,
    /// The settings file that was read.
    file: Option<Arc<Path>>,
}

struct Given {
    text: String,
    origin: Origin,
}

impl Sources {
    /// Gathers the flags, this process's environment, `.env` in the current directory, and the settings file.
    ///
    /// Fails if one of the files exists but can't be read.
    pub fn gather(flags: HashMap<String, String>) -> Result<Sources, SettingError> {
        let dotenv = dotenv::read(Path::new(".env"), |name| env::var(name).ok())?;
        let mut sources =
            Sources { flags, environment: env::vars_os().collect(), dotenv, file: SettingsFile::default() };
        sources.read_file()?;
        Ok(sources)
    }

    /// Reads the settings file that the other sources name, or else the default one.
    pub(super) fn read_file(&mut self) -> Result<(), SettingError> {
        if let Some((path, origin)) = Settings::one(&CONFIG, self)? {
            self.file = settings_file::read(Path::new(&path), &origin)?;
        }
        Ok(())
    }
}

impl Settings {
    /// Chooses each setting's value. Reads the files that `NAME_FILE` and systemd credentials name.
    ///
    /// Fails if a secret is set twice, if its file can't be read, or if a flag shows a password to everybody.
    pub fn resolve(sources: &Sources) -> Result<Settings, SettingError> {
        let mut settings =
            Settings { given: HashMap::new(), warnings: Vec::new(), file: sources.path(Layer::File).map(Arc::from) };
        for setting in ALL {
            if let Some(given) = settings.choose(setting, sources)? {
                settings.given.insert(setting.name, given);
            }
        }
        settings.warnings.extend(sources.misspelt_names());
        settings.warnings.extend(sources.dotenv.doubts.iter().cloned());
        Ok(settings)
    }

    /// One setting alone, for settings that must be known before the others.
    pub(super) fn one(setting: &'static Setting, sources: &Sources) -> Result<Option<(String, Origin)>, SettingError> {
        let mut settings = Settings { given: HashMap::new(), warnings: Vec::new(), file: None };
        Ok(settings.choose(setting, sources)?.map(|given| (given.text, given.origin)))
    }

    fn choose(&mut self, setting: &'static Setting, sources: &Sources) -> Result<Option<Given>, SettingError> {
        for layer in [Layer::Flag, Layer::Environment, Layer::Credential, Layer::DotEnv, Layer::File] {
            for name in setting.names() {
                if let Some((found, origin)) = sources.find(layer, setting, name)? {
                    return self.take(setting, found, origin, sources).map(Some);
                }
            }
        }
        let (text, layer) = match sources.state_directory()?.filter(|_| setting.name == DATA_DIR.name) {
            Some(directory) => (directory, Layer::StateDirectory),
            None => (setting.default, Layer::Default),
        };
        let given = Given { text: text.to_owned(), origin: Origin::new(layer, setting.name) };
        Ok((!given.text.is_empty()).then_some(given))
    }

    fn take(
        &mut self,
        setting: &Setting,
        found: Found,
        origin: Origin,
        sources: &Sources,
    ) -> Result<Given, SettingError> {
        let text = match found {
            Found::Text(text) => {
                if origin.layer == Layer::Flag {
                    shown_to_everybody(setting, &text, &origin)?;
                }
                if holds_secret(setting, &text) && sources.path(origin.layer).is_some_and(readable_by_others) {
                    self.warnings.push(format!("every user of this machine can read {origin}; chmod 600 it"));
                }
                text
            }
            // Read where it is used, and again after a renewal.
            Found::File(path) if matches!(setting.form, Form::Pem) => path.to_string_lossy().into_owned(),
            Found::File(path) => {
                let text = secret_file::read(&path, &origin)?;
                let public = text.contains("-----BEGIN") && !text.contains("PRIVATE");
                // No other user can read the directory of credentials.
                if !public && origin.layer != Layer::Credential && readable_by_others(&path) {
                    self.warnings.push(format!(
                        "every user of this machine can read {}, the file of {origin}; chmod 600 it",
                        path.display()
                    ));
                }
                text
            }
        };
        Ok(Given { text, origin })
    }

    /// The text of a setting, if it has one.
    pub fn text(&self, setting: &Setting) -> Option<&str> {
        self.given.get(setting.name).map(|given| given.text.as_str())
    }

    /// The origin of a setting's value, if it has one.
    pub fn origin(&self, setting: &Setting) -> Option<&Origin> {
        self.given.get(setting.name).map(|given| &given.origin)
    }

    /// Whether somebody set this setting.
    pub fn is_given(&self, setting: &Setting) -> bool {
        self.origin(setting).is_some_and(|origin| !origin.is_default())
    }

    /// Reads a setting that has a default.
    pub fn get<T>(&self, setting: &Setting, read: impl FnOnce(&str) -> Result<T, Expected>) -> Result<T, SettingError> {
        read(self.text(setting).unwrap_or_default()).map_err(|expected| self.unreadable(setting, &expected))
    }

    /// Reads an optional setting.
    pub fn optional<T>(
        &self,
        setting: &Setting,
        read: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Result<Option<T>, SettingError> {
        self.text(setting).map(|_| self.get(setting, read)).transpose()
    }

    /// The error for a setting whose text is invalid.
    pub fn unreadable(&self, setting: &Setting, expected: &str) -> SettingError {
        let name = self.name_of(setting);
        SettingError(match self.shown(setting) {
            Some(shown) => format!("{name} is \"{}\"; it should be {expected}", shown.escape_debug()),
            None => format!("{name} can't be read; it should be {expected}"),
        })
    }

    /// The error for a secret that is really a path, a placeholder or the like, if it is.
    pub fn mistaken(&self, setting: &Setting) -> Option<SettingError> {
        let mistake = self.text(setting).and_then(Mistake::in_secret)?;
        Some(SettingError(format!("{} {}", self.name_of(setting), mistake.sentence(setting.name))))
    }

    /// The name of a setting for errors: with its origin.
    pub fn name_of(&self, setting: &Setting) -> String {
        self.origin(setting).map_or_else(|| setting.name.to_owned(), Origin::to_string)
    }

    /// Where settings were read from, in one line: names without values.
    pub fn summary(&self) -> String {
        let mut places: Vec<(Cow<'static, str>, Vec<String>)> = Vec::new();
        let file = self.file.iter().map(|path| (Cow::Owned(path.display().to_string()), None));
        let given = ALL.iter().filter_map(|setting| self.origin(setting)).filter(|origin| !origin.is_default());
        for (place, name) in given.map(Origin::heading).map(|(place, name)| (place, Some(name))).chain(file) {
            match places.iter_mut().find(|(known, _)| *known == place) {
                Some((_, names)) => names.extend(name),
                None => places.push((place, name.into_iter().collect())),
            }
        }
        let said = places.into_iter().map(|(place, names)| match names.is_empty() {
            true => format!("none from {place}"),
            false => format!("{} from {place}", names.join(", ")),
        });
        said.chain(["all others by default".to_owned()]).collect::<Vec<_>>().join("; ")
    }

    /// The text of a setting as it may be shown: not of a secret, and without the password of a URL.
    pub fn shown(&self, setting: &Setting) -> Option<String> {
        let text = self.text(setting).filter(|_| !setting.is_secret())?;
        Some(match setting.form {
            // If it should be a URL but is not, it may be a password in the wrong line.
            Form::Database | Form::Storage if setting.form.check(text).is_err() => return None,
            Form::Database | Form::Storage => redact::without_password(text),
            Form::Endpoint => return WebhookUrl::parse(text).ok().map(|url| format!("{url:?}")),
            Form::Pem if is_pem(text) => return None,
            _ if text.chars().count() > 80 => text.chars().take(80).chain(['…']).collect(),
            _ => text.to_owned(),
        })
    }

    /// The same, with times and sizes in the units that are easiest to read.
    pub fn printed(&self, setting: &Setting) -> Option<String> {
        self.text(setting).and_then(|text| setting.form.readable(text)).or_else(|| self.shown(setting))
    }
}

/// Fails if a flag holds a value that must not be in a flag.
fn shown_to_everybody(setting: &Setting, text: &str, origin: &Origin) -> Result<(), SettingError> {
    if redact::has_password(text) {
        let name = &origin.variable;
        return Err(SettingError(format!(
            "{origin} holds a password, which every user of this machine could read; set {name} in the environment or \
             give --{}",
            settings::flag(&format!("{name}_FILE"))
        )));
    }
    if matches!(setting.form, Form::Pem) && is_pem(text) {
        return Err(SettingError(format!(
            "{origin} holds PEM text, which every user of this machine could read; give the path of a file"
        )));
    }
    Ok(())
}

/// Whether `text` would reveal a secret to its reader.
fn holds_secret(setting: &Setting, text: &str) -> bool {
    let hidden = setting.is_secret() || matches!(setting.form, Form::Endpoint);
    hidden || redact::has_password(text) || is_pem(text) && text.contains("PRIVATE")
}

#[cfg(test)]
mod tests {
    use super::super::{dotenv::DotEnv, settings::*};
    use super::*;
    use proptest::prelude::*;
    use std::{fs, io::Write, os::unix::fs::PermissionsExt};

    fn sources(flags: &[(&str, &str)], environment: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Sources {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Sources {
            flags: owned(flags),
            environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            dotenv: DotEnv { values: owned(dotenv), doubts: Vec::new() },
            file: SettingsFile::default(),
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
    fn the_settings_file_is_below_dotenv_and_above_the_state_directory() {
        let file = secret_in_a_file("max_body = 4\nmax_head = \"5KiB\"\ndata_dir = \"/srv\"\n", 0o644);
        let path = file.path().to_str().unwrap();
        let mut sources = sources(&[], &[("CONFIG", path), ("STATE_DIRECTORY", "/var/lib/chat")], &[("MAX_BODY", "3")]);
        sources.read_file().unwrap();
        let settings = Settings::resolve(&sources).unwrap();
        assert_eq!(settings.text(&MAX_BODY), Some("3"));
        assert_eq!(settings.text(&MAX_HEAD), Some("5KiB"));
        assert_eq!(settings.text(&DATA_DIR), Some("/srv"));
        assert_eq!(settings.name_of(&MAX_HEAD), format!("max_head in line 2 of {path}"));
        assert_eq!(
            settings.summary(),
            format!(
                "CONFIG from environment; data_dir, max_head from {path}; MAX_BODY from .env; all others by default"
            )
        );
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    }

    #[test]
    fn only_the_usual_settings_file_may_be_missing() {
        let mut named = sources(&[("CONFIG", "/nowhere/config.toml")], &[], &[]);
        let error = named.read_file().unwrap_err().to_string();
        assert!(error.starts_with("--config names /nowhere/config.toml, which can't be read: "), "{error}");
        let usual = Origin::new(Layer::Default, "CONFIG");
        assert!(settings_file::read(Path::new("/nowhere/config.toml"), &usual).unwrap().path.is_none());
        let directory = tempfile::tempdir().unwrap();
        let error = settings_file::read(directory.path(), &usual).unwrap_err().to_string();
        assert!(error.contains("exists, but can't be read") && error.contains("--config /dev/null"), "{error}");
    }

    #[test]
    fn a_secret_in_a_settings_file_that_everybody_can_read_is_warned_of() {
        for (text, mode, warned) in [
            ("jwt_private_key = \"s3cret\"", 0o644, true),
            ("jwt_private_key = \"s3cret\"", 0o640, false),
            ("database_url = \"postgres://a:s3cret@db/x\"", 0o644, true),
        ] {
            let file = secret_in_a_file(text, mode);
            let mut sources = sources(&[("CONFIG", file.path().to_str().unwrap())], &[], &[]);
            sources.read_file().unwrap();
            let warnings = Settings::resolve(&sources).unwrap().warnings;
            assert_eq!(warnings.len(), usize::from(warned), "{text}: {warnings:?}");
            assert!(!warnings.concat().contains("s3cret"));
        }
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

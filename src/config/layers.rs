//! The layers that settings come from: flags, environment, systemd credentials, `.env`, the settings file.

use super::{
    dotenv::DotEnv,
    error::SettingError,
    misspelt,
    provenance::{Layer, Origin},
    settings::Setting,
    settings_file::SettingsFile,
};
use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// The settings of all layers, gathered but not checked.
#[derive(Default)]
pub struct Sources {
    /// By variable: `--message-rate` is `MESSAGE_RATE`.
    pub flags: HashMap<String, String>,
    pub environment: HashMap<OsString, OsString>,
    pub dotenv: DotEnv,
    pub file: SettingsFile,
}

impl Sources {
    /// The value of a setting in one layer, under one of its names.
    ///
    /// Fails if the layer has two values, or one that is not text.
    pub(super) fn find(
        &self,
        layer: Layer,
        setting: &Setting,
        name: &str,
    ) -> Result<Option<(Found, Origin)>, SettingError> {
        if layer == Layer::Credential {
            return self.credential(setting, name);
        }
        let file_variable = format!("{name}_FILE");
        let file = if setting.may_be_a_file() { self.text(layer, &file_variable)? } else { None };
        Ok(match (self.text(layer, name)?, file) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                let (one, other) = (self.origin(layer, name), self.origin(layer, &file_variable));
                return Err(SettingError(format!("{one} and {other} are both given; give one of them")));
            }
            (Some(text), None) => Some((Found::Text(text.to_owned()), self.origin(layer, name))),
            (None, Some(path)) => Some((Found::File(path.into()), self.origin(layer, &file_variable))),
        })
    }

    fn text(&self, layer: Layer, variable: &str) -> Result<Option<&str>, SettingError> {
        let text = match layer {
            Layer::Flag => self.flags.get(variable).map(String::as_str),
            Layer::Environment => self.environment(variable)?,
            Layer::DotEnv => self.dotenv.values.get(variable).map(String::as_str),
            Layer::File => self.file.get(variable),
            Layer::Credential | Layer::StateDirectory | Layer::Default => None,
        };
        Ok(text.filter(|text| !text.trim().is_empty()))
    }

    fn environment(&self, variable: &str) -> Result<Option<&str>, SettingError> {
        let value = self.environment.get(OsStr::new(variable));
        value
            .map(|value| {
                value.to_str().ok_or_else(|| SettingError(format!("{variable} in the environment is no UTF-8")))
            })
            .transpose()
    }

    /// A systemd credential (`LoadCredential=`): a file in a directory that only this service can read.
    fn credential(&self, setting: &Setting, name: &str) -> Result<Option<(Found, Origin)>, SettingError> {
        let directory = self.environment("CREDENTIALS_DIRECTORY")?.filter(|d| !d.is_empty());
        let Some(directory) = directory.filter(|_| setting.may_be_a_file()) else { return Ok(None) };
        let found = [name.to_owned(), name.to_ascii_lowercase()].into_iter().find_map(|variable| {
            let path = Path::new(directory).join(&variable);
            path.exists().then(|| (Found::File(path), Origin::new(Layer::Credential, variable)))
        });
        Ok(found)
    }

    /// The directory that systemd made for data (`StateDirectory=`).
    pub(super) fn state_directory(&self) -> Result<Option<&str>, SettingError> {
        let directories = self.environment("STATE_DIRECTORY")?.unwrap_or_default();
        Ok(directories.split(':').find(|directory| !directory.is_empty()))
    }

    fn origin(&self, layer: Layer, variable: &str) -> Origin {
        let at = if layer == Layer::File { self.file.at(variable) } else { None };
        Origin { at, ..Origin::new(layer, variable) }
    }

    /// The file that holds the settings of this layer.
    pub(super) fn path(&self, layer: Layer) -> Option<&Path> {
        match layer {
            Layer::DotEnv => Some(Path::new(".env")),
            Layer::File => self.file.path.as_deref(),
            _ => None,
        }
    }

    /// A sentence for each name that is nearly a setting's. (In the settings file it is an error.)
    pub(super) fn misspelt_names(&self) -> Vec<String> {
        let environment =
            self.environment.keys().filter_map(|name| name.to_str()).map(|name| (name, Layer::Environment));
        let dotenv = self.dotenv.values.keys().map(|name| (name.as_str(), Layer::DotEnv));
        let mut sentences: Vec<_> = environment
            .chain(dotenv)
            .filter_map(|(name, layer)| {
                let meant = misspelt::meant(name)?;
                let origin = Origin::new(layer, name);
                Some(format!("{origin} is no setting and changes nothing; did you mean {meant}?"))
            })
            .collect();
        sentences.sort();
        sentences
    }
}

/// The value of a setting in a layer.
pub(super) enum Found {
    Text(String),
    /// The path of a file that holds the text.
    File(PathBuf),
}

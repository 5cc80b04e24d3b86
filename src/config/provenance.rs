//! The origin of a setting's value.

use super::settings;
use std::{borrow::Cow, fmt, path::Path, sync::Arc};

/// The origin of a value.
#[derive(Clone, Debug)]
pub struct Origin {
    pub(super) layer: Layer,
    /// The name that was used: the setting's, an alias, or `NAME_FILE`.
    pub(super) variable: String,
    /// The place in the settings file.
    pub(super) at: Option<At>,
}

/// A place in the settings file.
#[derive(Clone, Debug)]
pub struct At {
    pub(super) path: Arc<Path>,
    pub(super) line: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of {}", self.line, self.path.display())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Flag,
    Environment,
    Credential,
    DotEnv,
    File,
    StateDirectory,
    Default,
}

impl Origin {
    pub(super) fn new(layer: Layer, variable: impl Into<String>) -> Origin {
        Origin { layer, variable: variable.into(), at: None }
    }

    /// Whether nobody set the value.
    pub fn is_default(&self) -> bool {
        self.layer == Layer::Default
    }

    /// The layer alone, in a word or two.
    pub fn place(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self.layer {
            Layer::Flag => "flag",
            Layer::Environment => "environment",
            Layer::Credential => "systemd credential",
            Layer::DotEnv => ".env",
            Layer::File => return self.at.as_ref().map_or("the settings file".into(), |at| at.to_string().into()),
            Layer::StateDirectory => "systemd state directory",
            Layer::Default => "default",
        })
    }

    /// The place without a line, and the name as it is written there.
    pub(super) fn heading(&self) -> (Cow<'static, str>, String) {
        let name = &self.variable;
        match (self.layer, &self.at) {
            (Layer::File, Some(at)) => (at.path.display().to_string().into(), settings::key(name)),
            (Layer::Flag, _) => ("flags".into(), format!("--{}", settings::flag(name))),
            (Layer::Credential, _) => ("systemd credentials".into(), name.clone()),
            _ => (self.place(), name.clone()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = &self.variable;
        match self.layer {
            Layer::Flag => write!(f, "--{}", settings::flag(variable)),
            Layer::Environment => write!(f, "{variable} in the environment"),
            Layer::Credential => write!(f, "the systemd credential {variable}"),
            Layer::DotEnv => write!(f, "{variable} in .env"),
            Layer::File => write!(f, "{} in {}", settings::key(variable), self.place()),
            Layer::StateDirectory => write!(f, "{variable}, from STATE_DIRECTORY,"),
            Layer::Default => write!(f, "{variable}, by default,"),
        }
    }
}

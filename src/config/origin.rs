//! Where the value of a setting came from.

use super::settings;
use std::fmt;

/// Where a value came from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub(super) layer: Layer,
    /// The name that was used: an alias, or `NAME_FILE`.
    pub(super) variable: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Flag,
    Environment,
    Credential,
    DotEnv,
    StateDirectory,
    Default,
}

impl Origin {
    /// The place alone, in a word or two.
    pub fn place(&self) -> &'static str {
        match self.layer {
            Layer::Flag => "flag",
            Layer::Environment => "environment",
            Layer::Credential => "systemd credential",
            Layer::DotEnv => ".env",
            Layer::StateDirectory => "systemd state directory",
            Layer::Default => "default",
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
            Layer::StateDirectory => write!(f, "{variable}, from STATE_DIRECTORY,"),
            Layer::Default => write!(f, "{variable}, by default,"),
        }
    }
}

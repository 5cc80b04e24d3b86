//! The work of SIGHUP: reads again, from their files, what may change while the server runs.

use super::{tls::Tls, watchdog::tell_systemd};
use crate::{
    auth::{api_keys::ApiKeys, keys::Keyring},
    config::{Config, error::SettingError},
    webhooks::Webhooks,
};
use sd_notify::NotifyState;
use std::sync::Arc;

/// How to read again what the settings name.
pub struct Sources {
    /// Reads the keys that sign and verify tokens.
    pub keys: Box<dyn Fn() -> Result<Keyring, SettingError> + Send>,
    /// Reads the keys of backends.
    pub api_keys: Box<dyn Fn() -> Result<ApiKeys, SettingError> + Send>,
}

/// Everything that can be reloaded.
pub struct Reload {
    pub config: Config,
    pub sources: Sources,
    pub tls: Option<Arc<Tls>>,
    pub webhooks: Option<Arc<Webhooks>>,
}

impl Reload {
    /// Reloads each part independently. A part that can't be used stays as it was, and is logged. Also tries a webhook
    /// endpoint again that was gone.
    pub fn all(&self) {
        tracing::info!("reloading");
        // With the time, as Type=notify-reload requires it (sd_notify(3)).
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell_systemd(&[NotifyState::Reloading, now]),
            Err(_) => tell_systemd(&[NotifyState::Reloading]),
        }
        let unread = self.renew_keys();
        self.renew_api_keys(unread.as_deref());
        if let Some(tls) = &self.tls {
            tls.reload();
        }
        if self.webhooks.as_ref().is_some_and(|webhooks| webhooks.resume()) {
            tracing::info!("the webhook endpoint, which was gone, is tried again");
        }
        tell_systemd(&[NotifyState::Ready]);
        tracing::info!("reloaded");
    }

    /// Signs with the keys that were read again; the previous ones stay valid for the tokens that they signed. Returns
    /// the error if keys can't be read.
    fn renew_keys(&self) -> Option<String> {
        let Config { keys, tokens, .. } = &self.config;
        match (self.sources.keys)() {
            Ok(read) if keys.renew(&read, tokens.longest()) => {
                tracing::info!(
                    algorithm = read.algorithm(),
                    "the keys were read again: tokens are signed with a new one"
                );
            }
            Ok(_) => tracing::info!("the keys were read again: nothing has changed"),
            Err(error) => {
                tracing::error!(%error, "the keys could not be read again; the ones before stay in use");
                return Some(error.to_string());
            }
        }
        None
    }

    /// Accepts the API keys that were read again and no others: a key that was removed is refused from now on. An error
    /// of a setting that both kinds of keys need is not logged again if it is `said`.
    fn renew_api_keys(&self, said: Option<&str>) {
        match (self.sources.api_keys)() {
            Ok(read) => {
                if self.config.api_keys.renew(read) {
                    tracing::info!(keys = ?self.config.api_keys, "the API keys were read again");
                }
            }
            Err(error) if said.is_some_and(|said| said == error.to_string()) => {}
            Err(error) => tracing::error!(%error, "the API keys could not be read again; the ones before stay in use"),
        }
    }
}

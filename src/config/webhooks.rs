//! Settings of webhooks: where events are sent, and how.

use super::{
    endpoint::{EVENTS, WebhookUrl, is_public},
    error::SettingError,
    settings::{WEBHOOK_ALLOW_PRIVATE, WEBHOOK_EVENTS, WEBHOOK_GIVE_UP, WEBHOOK_SECRET, WEBHOOK_TIMEOUT, WEBHOOK_URL},
    sources::Settings,
    value,
};
use crate::auth::webhook_signature::WebhookSecrets;
use std::time::Duration;

/// Where events are sent, and how.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    pub url: WebhookUrl,
    pub secrets: WebhookSecrets,
    /// Some of [`EVENTS`].
    pub events: Vec<&'static str>,
    /// Whether the endpoint may be on this machine, or in a private network.
    pub allow_private: bool,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long a failed event is tried again.
    pub give_up: Duration,
}

impl Settings {
    /// `None` without `WEBHOOK_URL`.
    pub fn webhooks(&self) -> Result<Option<WebhookSettings>, SettingError> {
        let Some(url) = self.optional(&WEBHOOK_URL, WebhookUrl::parse)? else { return Ok(None) };
        let name = self.name_of(&WEBHOOK_URL);
        let Some(secrets) = self.text(&WEBHOOK_SECRET) else {
            return Err(SettingError(format!(
                "{name} is given without WEBHOOK_SECRET; a receiver could not tell our events from anybody's"
            )));
        };
        let secrets = WebhookSecrets::parse(secrets)
            .map_err(|error| SettingError(format!("{} can't be used: {error}", self.name_of(&WEBHOOK_SECRET))))?;
        let allow_private = self.get(&WEBHOOK_ALLOW_PRIVATE, value::switch)?;
        if !allow_private && !url.is_encrypted() {
            return Err(SettingError(format!(
                "{name} is not encrypted; it should be https://, or WEBHOOK_ALLOW_PRIVATE true for an endpoint that is reached \
                 only through your own network"
            )));
        }
        if !allow_private && url.address().is_some_and(|address| !is_public(address)) {
            return Err(SettingError(format!(
                "{name} is an address of this machine or of a private network; set WEBHOOK_ALLOW_PRIVATE=true if that is meant"
            )));
        }
        Ok(Some(WebhookSettings {
            url,
            secrets,
            events: self.get(&WEBHOOK_EVENTS, |text| value::words(text, EVENTS))?,
            allow_private,
            timeout: self.seconds(&WEBHOOK_TIMEOUT)?,
            give_up: self.seconds(&WEBHOOK_GIVE_UP)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::Sources;
    use super::*;

    const SECRET: (&str, &str) = ("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

    fn webhooks(environment: &[(&str, &str)]) -> Result<Option<WebhookSettings>, SettingError> {
        let environment = environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Settings::resolve(&Sources { environment, ..Sources::default() }).unwrap().webhooks()
    }

    #[test]
    fn an_endpoint_needs_a_secret_and_encryption() {
        let url = ("WEBHOOK_URL", "https://site.example/hooks/s3cr3t");
        let settings = webhooks(&[url, SECRET]).unwrap().unwrap();
        assert_eq!(settings.events, EVENTS);
        assert_eq!(settings.give_up, Duration::from_secs(86_400));
        assert!(!format!("{settings:?}").contains("s3cr3t"), "{settings:?}");
        assert!(webhooks(&[SECRET]).unwrap().is_none());
        assert!(webhooks(&[url]).unwrap_err().to_string().contains("without WEBHOOK_SECRET"));
        let plain = ("WEBHOOK_URL", "http://site.example/hook");
        assert!(webhooks(&[plain, SECRET]).unwrap_err().to_string().contains("not encrypted"));
        assert!(webhooks(&[plain, SECRET, ("WEBHOOK_ALLOW_PRIVATE", "true")]).is_ok());
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_being_shown() {
        for url in
            ["site.example/s3cr3t", "ftp://site.example/s3cr3t", "https://u:s3cr3t@site.example/", "https:///s3cr3t"]
        {
            let error = webhooks(&[("WEBHOOK_URL", url), SECRET]).unwrap_err().to_string();
            assert!(error.contains("the https:// URL of an endpoint") && !error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn some_events_may_be_chosen() {
        let url = ("WEBHOOK_URL", "https://site.example/hook");
        let chosen = |events| webhooks(&[url, SECRET, ("WEBHOOK_EVENTS", events)]);
        assert_eq!(chosen("member.left, message.created").unwrap().unwrap().events, ["member.left", "message.created"]);
        assert!(chosen("message.created,message.read").unwrap_err().to_string().contains("message.edited"));
    }
}

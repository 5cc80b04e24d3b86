//! The login, and a ticket for each connection.

use crate::cli::remote::{Answer, Remote};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::time::Duration;
use zeroize::Zeroizing;

/// A login at a server.
pub struct Session {
    pub remote: Remote,
    pub email: String,
    access_token: Mutex<Zeroizing<String>>,
    /// Kept only if there is nobody to ask again: a login lasts for an hour, a pipe may last for days.
    password: Option<Zeroizing<String>>,
}

/// Why the server refuses the user.
#[derive(Debug)]
pub enum Denied {
    /// Trying again may help, after this time at the earliest.
    ForNow { why: String, wait: Duration },
    /// The login has expired; the password is needed again.
    Expired,
    /// Trying again would give the same answer.
    ForGood(String),
}

impl Denied {
    pub fn for_now(why: impl Into<String>) -> Denied {
        Denied::ForNow { why: why.into(), wait: Duration::ZERO }
    }

    /// The meaning of a refusal with this status.
    pub fn by_status(status: u16, why: String, retry_after: Option<Duration>) -> Denied {
        match status {
            408 | 425 | 429 | 500.. => Denied::ForNow { why, wait: retry_after.unwrap_or_default() },
            _ => Denied::ForGood(why),
        }
    }
}

impl Session {
    /// Logs in. With `keep` the password stays in memory, for the time when the login has expired.
    pub fn log_in(remote: Remote, email: &str, password: Zeroizing<String>, keep: bool) -> Result<Session, Denied> {
        let access_token = access_token(&remote, email, &password)?;
        Ok(Session {
            remote,
            email: email.to_owned(),
            access_token: Mutex::new(access_token),
            password: keep.then_some(password),
        })
    }

    /// Logs in again, after the login has expired.
    pub fn renew(&self, password: &str) -> Result<(), Denied> {
        *self.access_token.lock() = access_token(&self.remote, &self.email, password)?;
        Ok(())
    }

    /// A token that opens one connection.
    pub fn ticket(&self) -> Result<Zeroizing<String>, Denied> {
        match (self.try_ticket(), &self.password) {
            (Err(Denied::Expired), Some(password)) => {
                self.renew(password)?;
                self.try_ticket()
            }
            (ticket, _) => ticket,
        }
    }

    /// The server's answer at this path, with the login's token.
    pub fn get(&self, path: &str) -> Result<Value, Denied> {
        let access_token = self.access_token.lock().clone();
        let answer = self.remote.get(path, &access_token).map_err(Denied::for_now)?;
        match answer.status {
            200 => Ok(answer.body),
            401 => Err(Denied::Expired),
            status => Err(Denied::by_status(status, answer.refusal(), answer.retry_after)),
        }
    }

    fn try_ticket(&self) -> Result<Zeroizing<String>, Denied> {
        let access_token = self.access_token.lock().clone();
        let answer = self.remote.post("/ws_ticket", Some(&access_token), &json!({})).map_err(Denied::for_now)?;
        if answer.status == 401 {
            return Err(Denied::Expired);
        }
        token(&answer, "ticket")
    }
}

/// `/auth` rather than `/login`, since it also accepts accounts without a monitor.
fn access_token(remote: &Remote, email: &str, password: &str) -> Result<Zeroizing<String>, Denied> {
    let credentials = json!({ "email": email, "password": password });
    let answer = remote.post("/auth", None, &credentials).map_err(Denied::for_now)?;
    token(&answer, "token")
}

fn token(answer: &Answer, name: &str) -> Result<Zeroizing<String>, Denied> {
    match answer.token(name) {
        Ok(token) => Ok(Zeroizing::new(token.to_owned())),
        Err(why) => Err(Denied::by_status(answer.status, why, answer.retry_after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let denied = |status| Denied::by_status(status, String::new(), Some(Duration::from_secs(7)));
        for status in [429, 500, 503] {
            assert!(matches!(denied(status), Denied::ForNow { wait, .. } if wait.as_secs() == 7), "{status}");
        }
        for status in [200, 301, 400, 401, 403, 404] {
            assert!(matches!(denied(status), Denied::ForGood(_)), "{status}");
        }
    }
}

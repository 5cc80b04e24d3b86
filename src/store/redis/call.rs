//! Commands for Redis: many in one round trip, each to the master that has its keys.

use super::{
    failure::{Answer, Failure, is_forbidden, is_full},
    fleet::Fleet,
    health::Health,
    script::Script,
    server::{self, Wire},
};
use redis::{Cmd, RedisError, ServerErrorKind, Value, cmd};
use std::{sync::Arc, time::Duration};

/// How long an answer of one master is waited for after another master's answer did not come in time.
const THERE_ALREADY: Duration = Duration::from_millis(100);

/// One command.
pub(super) struct Call {
    /// The key that decides which master gets the command.
    key: Vec<u8>,
    encoded: Vec<u8>,
    /// The script that the command runs, if any.
    script: Option<&'static Script>,
    /// How long its answer may take.
    answer: Duration,
}

impl Call {
    pub fn command(key: &str, command: &Cmd) -> Call {
        Call { key: key.into(), encoded: command.get_packed_command(), script: None, answer: server::ANSWER }
    }

    /// A script with its keys and arguments. The first key decides which master gets it.
    pub fn script(script: &'static Script, keys: &[&str], arguments: impl FnOnce(&mut Cmd)) -> Call {
        // So that it rarely has to grow.
        let mut command = Cmd::with_capacity(keys.len() + 32, 1024);
        command.arg("EVALSHA").arg(script.hash()).arg(keys.len()).arg(keys);
        arguments(&mut command);
        let key = keys.first().copied().unwrap_or_default().into();
        Call { key, encoded: command.get_packed_command(), script: Some(script), answer: server::ANSWER }
    }

    /// One whose answer is waited for no longer than [`server::SOON`].
    pub fn soon(self) -> Call {
        Call { answer: server::SOON, ..self }
    }
}

impl Health {
    /// Sends all commands in one round trip per master, and returns their answers in the same order.
    pub fn run(&self, fleet: &Fleet, calls: &[Call]) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = calls.iter().map(|_| None).collect();
        let mut shares: Vec<Vec<usize>> = vec![Vec::new(); fleet.masters.len()];
        for (index, call) in calls.iter().enumerate() {
            shares[fleet.place(&call.key)].push(index);
        }
        let mut open = Vec::new();
        for (master, share) in fleet.masters.iter().zip(shares).filter(|(_, share)| !share.is_empty()) {
            let answer = share.iter().map(|index| calls[*index].answer).max().unwrap_or(server::ANSWER);
            let sent = master.wire(answer).and_then(|mut wire| {
                wire.send(&joined(calls, &share))?;
                Ok(wire)
            });
            match sent {
                Ok(wire) => open.push((wire, share)),
                Err(failure) => fail(&mut answers, &share, failure),
            }
        }
        let mut is_late = false;
        for (mut wire, share) in open {
            // All were sent at the same time.
            if is_late && let Err(error) = wire.patience(THERE_ALREADY) {
                fail(&mut answers, &share, error.into());
                continue;
            }
            is_late |= receive(&mut wire, &share, &mut answers);
            teach(&mut wire, calls, &share, &mut answers);
        }
        let redirections = |(index, answer): (usize, &Option<Answer>)| Some((index, redirection(answer)?));
        let (redirected, errors): (Vec<usize>, Vec<RedisError>) =
            answers.iter().enumerate().filter_map(redirections).unzip();
        for (followed, (index, error)) in redirected.iter().zip(&errors).enumerate() {
            match follow(fleet, &calls[*index], error) {
                Ok(value) => answers[*index] = Some(Ok(value)),
                // As in `receive`: each further call may take its own time-out.
                Err(failure) => {
                    fail(&mut answers, &redirected[followed..], failure);
                    break;
                }
            }
        }
        answers.into_iter().map(|answer| self.judged(fleet, answer.unwrap_or(Err(Failure::Unreadable)))).collect()
    }

    /// [`Health::run`] for one command.
    pub fn ask(&self, fleet: &Fleet, call: Call) -> Answer {
        self.run(fleet, &[call]).pop().unwrap_or(Err(Failure::Unreadable))
    }

    /// [`Health::ask`] for a command that may run twice: if its connection turns out to be broken, it is sent once more
    /// over a new one.
    pub fn ask_again(&self, call: impl Fn(&Fleet) -> Call) -> Answer {
        let fleet = self.fleet().map_err(Failure::Away)?;
        match self.ask(&fleet, call(&fleet)) {
            Err(failure) if failure.is_broken_connection() => {
                let Some(other) = self.wait_for_other(Some(fleet.generation), server::CONNECT) else {
                    return Err(failure);
                };
                self.ask(&other, call(&other))
            }
            answer => answer,
        }
    }

    /// Turns a refusal into an error, and reports errors that say something about the health of Redis.
    fn judged(&self, fleet: &Fleet, answer: Answer) -> Answer {
        let answer = answer.and_then(|value| Ok(value.extract_error()?));
        match &answer {
            Err(Failure::Redis(error)) => {
                // `LATE` comes from our scripts: the server's clock was set, so it has to be read again.
                // A forbidden command is reported too: the watch then tries all rights, and all commands fail until it
                // succeeds.
                let healthy = !is_forbidden(error)
                    && error.code().is_some_and(|code| matches!(code, "ERR" | "NOSCRIPT" | "WRONGTYPE" | "TRYAGAIN"));
                if is_full(error) {
                    // It can still be read, and the archiver makes space in it.
                    self.report_full();
                } else if !healthy {
                    self.report_failure(fleet.generation, error.is_timeout());
                }
            }
            // Waiting for a free connection timed out, which takes as long as connecting may take.
            Err(Failure::NoConnection(_)) => self.report_failure(fleet.generation, true),
            Err(Failure::Broken(_)) => self.report_failure(fleet.generation, false),
            Err(Failure::Away(_) | Failure::Unreadable | Failure::Skewed(_)) | Ok(_) => {}
        }
        answer
    }
}

fn joined(calls: &[Call], share: &[usize]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(share.iter().map(|index| calls[*index].encoded.len()).sum());
    for index in share {
        encoded.extend_from_slice(&calls[*index].encoded);
    }
    encoded
}

/// Reads the answers to these commands. It stops at the first error, since each further answer would take its own
/// time-out. Returns whether an answer did not come in time.
fn receive(wire: &mut Wire, share: &[usize], answers: &mut [Option<Answer>]) -> bool {
    for (read, index) in share.iter().enumerate() {
        match wire.receive() {
            Ok(value) => answers[*index] = Some(Ok(value)),
            Err(error) => {
                let timed_out = error.is_timeout();
                fail(answers, &share[read..], error.into());
                return timed_out;
            }
        }
    }
    false
}

/// The first of these commands gets the failure itself, the others its sentence.
fn fail(answers: &mut [Option<Answer>], share: &[usize], failure: Failure) {
    let Some((first, others)) = share.split_first() else { return };
    let sentence: Arc<str> = failure.to_string().into();
    answers[*first] = Some(Err(failure));
    for index in others {
        answers[*index] = Some(Err(Failure::Broken(sentence.clone())));
    }
}

/// Loads the scripts that the server has forgotten, and repeats the commands that need them: those have done nothing
/// yet.
fn teach(wire: &mut Wire, calls: &[Call], share: &[usize], answers: &mut [Option<Answer>]) {
    let unknown: Vec<usize> = share
        .iter()
        .copied()
        .filter(|index| {
            matches!(&answers[*index], Some(Ok(Value::ServerError(error)))
                if error.kind() == Some(ServerErrorKind::NoScript))
        })
        .collect();
    let mut loaded: Vec<&str> = Vec::new();
    for script in unknown.iter().filter_map(|index| calls[*index].script) {
        if loaded.contains(&script.hash()) {
            continue;
        }
        loaded.push(script.hash());
        if let Err(error) = wire.ask(&cmd("SCRIPT").arg("LOAD").arg(script.code).get_packed_command()) {
            return fail(answers, &unknown, error.into());
        }
    }
    if unknown.is_empty() {
        return;
    }
    match wire.send(&joined(calls, &unknown)) {
        Ok(()) => drop(receive(wire, &unknown, answers)),
        Err(error) => fail(answers, &unknown, error.into()),
    }
}

/// Where a cluster says that a command belongs.
fn redirection(answer: &Option<Answer>) -> Option<RedisError> {
    match answer {
        Some(Ok(Value::ServerError(error)))
            if matches!(error.kind(), Some(ServerErrorKind::Moved | ServerErrorKind::Ask)) =>
        {
            Some(error.clone().into())
        }
        _ => None,
    }
}

/// Repeats a command, once, at the server that the cluster names for its slot.
fn follow(fleet: &Fleet, call: &Call, redirection: &RedisError) -> Answer {
    let Some(master) = fleet.redirected(redirection) else {
        return Err(Failure::Broken(redirection.to_string().into()));
    };
    let mut wire = fleet.masters[master].wire(call.answer)?;
    let asked = redirection.kind() == redis::ErrorKind::Server(ServerErrorKind::Ask);
    if asked {
        wire.ask(&cmd("ASKING").get_packed_command())?;
    } else {
        fleet.learn(&call.key, master);
    }
    wire.send(&call.encoded)?;
    let answer = wire.receive()?;
    match (&answer, call.script) {
        (Value::ServerError(error), Some(script)) if error.kind() == Some(ServerErrorKind::NoScript) => {
            wire.ask(&cmd("SCRIPT").arg("LOAD").arg(script.code).get_packed_command())?;
            if asked {
                wire.ask(&cmd("ASKING").get_packed_command())?;
            }
            wire.send(&call.encoded)?;
            Ok(wire.receive()?)
        }
        _ => Ok(answer),
    }
}

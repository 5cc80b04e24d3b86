//! Finds the server that the sentinels call the master. It asks all at once, since one sentinel may be cut off from the
//! others and not know what they have agreed on.

use super::{
    address::{Deployment, Host},
    server::Server,
};
use crossbeam_channel::{Receiver, unbounded};
use redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, cmd};
use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

/// One sentinel's answer.
#[derive(Clone, Debug, PartialEq)]
struct Word {
    master: Host,
    /// Counts the sentinels' agreements; 0 if the user may not ask this one.
    epoch: u64,
}

/// The master that most sentinels name. If too few agree, the one of the latest agreement.
///
/// Connecting, and each answer, may take `patience`.
pub(super) fn master_of(
    deployment: &Deployment,
    sentinels: &[Host],
    name: &str,
    patience: Duration,
) -> RedisResult<Host> {
    let (answers, said) = unbounded();
    for sentinel in sentinels {
        let (deployment, sentinel, name) = (deployment.clone(), sentinel.clone(), name.to_owned());
        let answers = answers.clone();
        // This thread ends by itself. If the other answers are enough, nothing waits for a sentinel that hangs.
        let asking = move || drop(answers.send(ask(&deployment, sentinel, &name, patience)));
        thread::Builder::new().name("sentinel".into()).spawn(asking)?;
    }
    drop(answers);
    believed(sentinels.len(), &said, Instant::now() + 2 * patience)
}

/// Collects answers until that time, or until there are enough.
fn believed(asked: usize, said: &Receiver<RedisResult<Word>>, until: Instant) -> RedisResult<Host> {
    let mut words: Vec<Word> = Vec::new();
    let mut error = RedisError::from((ErrorKind::Io, "no sentinel answers"));
    while let Ok(answer) = said.recv_deadline(until) {
        match answer {
            Ok(word) => {
                let agree = 1 + words.iter().filter(|other| other.master == word.master).count();
                if agree > asked / 2 {
                    return Ok(word.master);
                }
                words.push(word);
            }
            Err(e) => error = e,
        }
    }
    let votes = |word: &Word| words.iter().filter(|other| other.master == word.master).count();
    words.iter().max_by_key(|word| (word.epoch, votes(word))).map(|word| word.master.clone()).ok_or(error)
}

fn ask(deployment: &Deployment, sentinel: Host, name: &str, patience: Duration) -> RedisResult<Word> {
    let mut wire = Server::sentinel(deployment, sentinel)?.open(patience, patience)?;
    let answer = wire.ask(&cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).get_packed_command())?;
    let Some((host, port)) = redis::from_redis_value::<Option<(String, u16)>>(answer)? else {
        return Err((ErrorKind::InvalidClientConfig, "the sentinel knows no master of this name").into());
    };
    // The user may not be allowed to ask this.
    let told = wire.ask(&cmd("SENTINEL").arg("MASTER").arg(name).get_packed_command()).ok();
    let told = told.and_then(|told| HashMap::<String, String>::from_redis_value(told).ok());
    let epoch = told.and_then(|told| told.get("config-epoch")?.parse().ok()).unwrap_or(0);
    Ok(Word { master: Host::Tcp(host, port), epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(port: u16, epoch: u64) -> RedisResult<Word> {
        Ok(Word { master: Host::Tcp("redis".into(), port), epoch })
    }

    fn away() -> RedisResult<Word> {
        Err((ErrorKind::Io, "away").into())
    }

    /// The port of the believed master, with three sentinels.
    fn port(said: Vec<RedisResult<Word>>) -> Option<u16> {
        let (sender, receiver) = unbounded();
        said.into_iter().for_each(|answer| sender.send(answer).unwrap());
        drop(sender);
        match believed(3, &receiver, Instant::now() + Duration::from_secs(60)) {
            Ok(Host::Tcp(_, port)) => Some(port),
            _ => None,
        }
    }

    #[test]
    fn a_majority_is_believed_whoever_answers_first() {
        assert_eq!(port(vec![word(1, 4), word(2, 5), word(2, 5)]), Some(2));
        assert_eq!(port(vec![word(2, 5), word(2, 5), word(1, 4)]), Some(2));
        assert_eq!(port(vec![away(), word(2, 5), word(2, 5)]), Some(2));
    }

    #[test]
    fn with_fewer_answers_the_latest_agreement_counts() {
        assert_eq!(port(vec![word(1, 4), away(), word(2, 5)]), Some(2));
        assert_eq!(port(vec![word(2, 5), word(1, 4), away()]), Some(2));
        assert_eq!(port(vec![away(), word(1, 4), away()]), Some(1));
        assert_eq!(port(vec![away(), away(), away()]), None);
    }

    #[test]
    fn nobody_waits_for_one_that_hangs() {
        let (sender, receiver) = unbounded();
        [word(1, 1), word(1, 1)].into_iter().for_each(|answer| sender.send(answer).unwrap());
        let begun = Instant::now();
        assert!(believed(3, &receiver, begun + Duration::from_secs(60)).is_ok());
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}

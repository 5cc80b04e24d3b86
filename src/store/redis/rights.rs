//! Checks that the user in the URL may do everything that the stores do: runs each command once, where it changes
//! nothing.

use super::{script, server::Wire, wire::BEAT};
use redis::{ErrorKind, RedisError, RedisResult, Value, cmd};

/// How many messages may arrive between subscribing and unsubscribing.
const BETWEEN: usize = 1000;

/// Runs each command that the stores use once, on keys named like theirs beside `probe_key`, and leaves nothing behind.
/// Fails with the first command that is forbidden, or that the server does not have.
pub(super) fn try_all(channel: &str, wire: &mut Wire, probe_key: &str) -> RedisResult<()> {
    let key = |what: &str| format!("{}:{what}", probe_key.trim_end_matches(":probe"));
    let (log, head, mark) = (key("log"), key("head"), key("ref:probe"));
    wire.ask(&cmd("PUBLISH").arg(channel).arg(BEAT).get_packed_command())?;
    subscribe(channel, wire)?;
    wire.ask(&cmd("SCRIPT").arg("LOAD").arg(script::PROBE.code).get_packed_command())?;
    let probe =
        cmd("EVALSHA").arg(script::PROBE.hash()).arg(3).arg(&[&log, &head, &mark]).arg(channel).arg(BEAT).to_owned();
    wire.ask(&probe.get_packed_command())?;
    for command in [
        cmd("XRANGE").arg(&log).arg("-").arg("+"),
        cmd("XREVRANGE").arg(&log).arg("+").arg("-"),
        cmd("HMGET").arg(&head).arg("last"),
        cmd("HGET").arg(&head).arg("last"),
        cmd("HGETALL").arg(&head),
        cmd("HVALS").arg(&head),
        cmd("TTL").arg(&head),
        cmd("SCAN").arg("0").arg("MATCH").arg(&head).arg("COUNT").arg(1),
    ] {
        wire.ask(&command.get_packed_command())?;
    }
    Ok(())
}

/// Subscribes, and unsubscribes at once.
fn subscribe(channel: &str, wire: &mut Wire) -> RedisResult<()> {
    let mut both = cmd("SUBSCRIBE").arg(channel).get_packed_command();
    both.extend_from_slice(&cmd("UNSUBSCRIBE").arg(channel).get_packed_command());
    wire.send(&both)?;
    let subscribed = wire.receive()?;
    for _ in 0..BETWEEN {
        // What others publish in the meantime arrives here too.
        let is_the_end = match wire.receive()? {
            Value::Array(parts) => matches!(parts.first(), Some(Value::BulkString(kind)) if kind == b"unsubscribe"),
            Value::ServerError(_) => true,
            _ => false,
        };
        if is_the_end {
            return subscribed.extract_error().map(drop);
        }
    }
    Err(RedisError::from((ErrorKind::Client, "it does not end a subscription")))
}

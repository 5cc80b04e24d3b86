//! Checks that the user in the URL may do everything that the stores do: runs each command once, where it changes
//! nothing.

use super::{
    channels::{Channels, Reach},
    script,
    server::Wire,
    wire::BEAT,
};
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value, cmd};

/// How many messages may arrive between subscribing and unsubscribing.
const BETWEEN: usize = 1000;

/// Runs each command that the stores use once, on keys and channels named like theirs beside `probe_key`, and leaves
/// nothing behind. Fails with the first command that is forbidden, or that the server does not have.
pub(super) fn try_all(channels: &Channels, reach: Reach, wire: &mut Wire, probe_key: &str) -> RedisResult<()> {
    let key = |what: &str| format!("{}:{what}", probe_key.trim_end_matches(":probe"));
    let (log, head, mark) = (key("log"), key("head"), key("ref:probe"));
    let everywhere = reach == Reach::Everybody;
    let room = if everywhere { channels.everybody.clone() } else { channels.beside(probe_key) };
    // Both at once, as nodes do: others count them.
    subscribe(wire, ["SUBSCRIBE", "UNSUBSCRIBE"], &[&channels.everybody, &channels.knowing])?;
    subscribe(wire, ["SUBSCRIBE", "UNSUBSCRIBE"], &[&channels.news])?;
    subscribe(wire, [reach.subscribe(), reach.unsubscribe()], &[&room])?;
    listeners(channels, wire)?;
    let mut probe = cmd("EVALSHA");
    probe.arg(script::PROBE.hash()).arg(3).arg(&[&log, &head, &mark]).arg(&channels.everybody).arg(BEAT);
    probe.arg(reach.publish()).arg(&room);
    // In one round trip: a node that comes back over a long way does this first.
    ask_all(
        wire,
        &[
            cmd("PUBLISH").arg(&channels.everybody).arg(BEAT).to_owned(),
            cmd("PUBLISH").arg(&channels.news).arg("").to_owned(),
            cmd(reach.publish()).arg(&room).arg(BEAT).to_owned(),
            cmd("SCRIPT").arg("LOAD").arg(script::PROBE.code).to_owned(),
            probe,
            cmd("XRANGE").arg(&log).arg("-").arg("+").to_owned(),
            cmd("XREVRANGE").arg(&log).arg("+").arg("-").to_owned(),
            cmd("HMGET").arg(&head).arg("last").to_owned(),
            cmd("HGET").arg(&head).arg("last").to_owned(),
            cmd("HGETALL").arg(&head).to_owned(),
            cmd("HVALS").arg(&head).to_owned(),
            cmd("TTL").arg(&head).to_owned(),
            cmd("SCAN").arg("0").arg("MATCH").arg(&head).arg("COUNT").arg(1).to_owned(),
        ],
    )
}

/// Sends all commands at once. Fails with the first that is refused, when all answers are read.
fn ask_all(wire: &mut Wire, commands: &[Cmd]) -> RedisResult<()> {
    wire.send(&commands.iter().flat_map(Cmd::get_packed_command).collect::<Vec<u8>>())?;
    let mut asked = Ok(());
    for _ in commands {
        let answer = wire.receive()?.extract_error();
        asked = asked.and(answer.map(drop));
    }
    asked
}

/// How many connections of one server listen to which channel.
pub(super) struct Listeners {
    pub everybody: i64,
    pub knowing: i64,
    pub news: i64,
}

pub(super) fn listeners(channels: &Channels, wire: &mut Wire) -> RedisResult<Listeners> {
    let Channels { everybody, knowing, news, .. } = channels;
    let mut ask = cmd("PUBSUB");
    ask.arg("NUMSUB").arg(&[everybody, knowing, news]);
    let counts: (String, i64, String, i64, String, i64) =
        redis::from_redis_value(wire.ask(&ask.get_packed_command())?)?;
    Ok(Listeners { everybody: counts.1, knowing: counts.3, news: counts.5 })
}

/// Subscribes to these channels, and unsubscribes at once.
fn subscribe(wire: &mut Wire, [subscribe, unsubscribe]: [&str; 2], channels: &[&str]) -> RedisResult<()> {
    let packed = |command: &str| -> Vec<u8> { Cmd::new().arg(command).arg(channels).get_packed_command() };
    wire.send(&[packed(subscribe), packed(unsubscribe)].concat())?;
    let subscribed = wire.receive()?;
    let mut left = channels.len();
    for _ in 0..BETWEEN {
        // What others publish in the meantime arrives here too.
        match wire.receive()? {
            Value::ServerError(_) => left = 0,
            Value::Array(parts) => {
                let is_end = |kind: &[u8]| kind == b"unsubscribe" || kind == b"sunsubscribe";
                left -= usize::from(matches!(parts.first(), Some(Value::BulkString(kind)) if is_end(kind)));
            }
            _ => {}
        }
        if left == 0 {
            return subscribed.extract_error().map(drop);
        }
    }
    Err(RedisError::from((ErrorKind::Client, "it does not end a subscription")))
}

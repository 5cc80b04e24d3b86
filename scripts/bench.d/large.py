"""What a room of many messages costs: a page of its history, a search in it, and erasing a person who said a tenth of it.

Each is set beside what the `sqlite3` of this Python takes for the same rows of the same files, or beside the same server while
nothing is erased.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import secrets
import sqlite3
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import machine
from client import Client, call
from programs import this_server
from servers import announced, end

MESSAGES = 1_000_000
QUICK = 100_000
PAGE = 50
# A tenth is edited, and a tenth is somebody's who is erased.
TENTH = 10
RARE = 5
# Bytes of the words of one part of the index (`FULL` in `src/store/sqlite/search/stretches.rs`).
STRETCH = 256 << 10

READER, ERASED = "reader@example.org", "erased@example.org"
PASSWORD = "correct horse battery"
SETTINGS = {"MESSAGE_RATE": "0", "LOGIN_RATE": "0", "SEARCH_RATE": "0", "HISTORY_MAX": "0", "STORE_MAX": "0",
            "MAX_CONNECTIONS_PER_ADDRESS": "0"}

# Said while somebody is erased, and before: so many a second each, in a room of one's own and in the erased one's.
TALKERS = ("plain", "talk1", "talk2", "talk3")
PER_SECOND = 50
QUIET_SECONDS = 15
# The most that is waited for the end; the server goes on.
ERASING_SECONDS = 600

COLUMNS = "key, tail, sender, text, extra, name, reply_to, edited, reacted"
HISTORY = f"""SELECT {COLUMNS} FROM by_room CROSS JOIN messages USING (key)
    WHERE by_room.room = ? AND key < ? ORDER BY key DESC LIMIT {PAGE + 1}"""
LOOK_UP = f"SELECT rowid FROM messages WHERE messages MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT {PAGE}"


def run(arguments: argparse.Namespace) -> int:
    chat = next(iter(arguments.also.values()), None) or this_server()
    count = QUICK if arguments.quick else MESSAGES
    print(f"{count:,} messages a room, on {machine.describe()}; others keep {machine.busy():.1f} cores busy", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-large-") as scratch:
        data = Path(scratch) / "data"
        data.mkdir()
        keys = prepare(Path(chat).resolve(), data, count)
        with server(Path(chat).resolve(), data) as port:
            access = call(port, "/auth", {"user": READER, "pwd": PASSWORD})["token"]
            pages(port, access, data, keys)
            searches(port, access, data)
            erase(Path(chat).resolve(), port, access, data, arguments.seconds or ERASING_SECONDS)
    return 0


def environment(data: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LISTEN": "127.0.0.1:0", "DATA_DIR": str(data)} | SETTINGS


@contextlib.contextmanager
def server(chat: Path, data: Path):
    log = data.parent / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([str(chat), "serve"], cwd=data, env=environment(data), stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=out)
        try:
            yield announced(process, log)
        finally:
            end(process)


def command(chat: Path, data: Path, *arguments: str, answer: str = "") -> str:
    done = subprocess.run([str(chat), *arguments], cwd=data, env=environment(data), input=answer, capture_output=True,
                          text=True, timeout=1800)
    if done.returncode != 0:
        raise SystemExit(f"scripts/bench: {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def prepare(chat: Path, data: Path, count: int) -> dict[str, range]:
    """Accounts, and the rooms `plain` and `edited`, put behind the server's back into the tables that it has made. The index
    has the words of the first."""
    for email in (READER, ERASED):
        command(chat, data, "account", "add", email, "--password-stdin", answer=f"{PASSWORD}\n")
    with server(chat, data):
        pass
    # One a millisecond, so the lower half of a key stays 0 (see `_prefill` in servers.py).
    first = (int(time.time() * 1000) - 3 * count) << 12
    keys = {"plain": range(first, first + (count << 12), 1 << 12),
            "edited": range(first + (count << 12), first + (2 * count << 12), 1 << 12)}
    changed = first + (2 * count << 12)
    vocabulary = [f"w{n:x}" for n in range(20_000)]
    chance = random.Random(7)
    texts = {}
    with contextlib.closing(sqlite3.connect(data / "log.db")) as log, log:
        rooms = {name: log.execute("INSERT INTO rooms (name) VALUES (?)", (f"channel:{name}",)).lastrowid for name in keys}

        def rows(name: str):
            for n, key in enumerate(keys[name]):
                words = [vocabulary[min(int(chance.paretovariate(0.4)), len(vocabulary)) - 1] for _ in range(14)]
                words += ["common"] * (n % 3 == 0) + ["rareword"] * (n % (count // RARE) == count // RARE // 2)
                text = " ".join(words)
                if name == "plain":
                    texts[key] = (secrets.randbits(62), text)
                tail = texts[key][0] if name == "plain" else secrets.randbits(62)
                edited = None
                if name == "edited" and n % TENTH == 0:
                    edited = uuid(changed + (n << 12), secrets.randbits(62))
                sender = ERASED if name == "plain" and n % TENTH == 1 else READER
                yield key, rooms[name], tail, sender, text, "Somebody", edited

        for name in keys:
            log.executemany("INSERT INTO messages (key, room, tail, sender, text, name, edited) VALUES (?, ?, ?, ?, ?, ?, ?)",
                            rows(name))
        log.execute("INSERT INTO by_room SELECT room, key FROM messages ORDER BY room, key")
        edits = log.execute("SELECT key, tail, edited FROM messages WHERE edited IS NOT NULL ORDER BY edited").fetchall()
        log.executemany(
            "INSERT INTO changes (key, room, tail, of, of_tail, by, kind) VALUES (?, ?, ?, ?, ?, ?, 0)",
            ((halves(id)[0], rooms["edited"], halves(id)[1], of, of_tail, READER) for of, of_tail, id in edits))
        last, _ = halves(edits[-1][2])
        log.execute("INSERT OR REPLACE INTO applied VALUES (0, ?)", (last,))
    with contextlib.closing(sqlite3.connect(data / "search.db")) as index:
        index.execute("PRAGMA synchronous = OFF")
        key = keys["plain"][-1]
        index.execute("INSERT INTO rooms VALUES (1, 'channel:plain', ?)", (uuid(key, texts[key][0]),))
        index.execute("INSERT OR REPLACE INTO progress VALUES (0, ?, ?)", (uuid(last, (1 << 62) - 1), last))
        waiting, stretch, size = [], 0, STRETCH
        # In transactions as the server's own.
        for key, (tail, text) in texts.items():
            if size >= STRETCH:
                stretch, size = stretch + 1, 0
                index.execute("INSERT INTO stretches VALUES (?, 1, ?, ?, ?)", (stretch, key, tail, STRETCH))
            words = " ".join([marked(stretch, ""), *(marked(stretch, word) for word in text.split())])
            size += len(words)
            waiting.append((key, words, tail))
            if len(waiting) == 500 or key == keys["plain"][-1]:
                with index:
                    index.executemany("INSERT INTO messages (rowid, words, tail) VALUES (?, ?, ?)", waiting)
                waiting.clear()
    return keys


def marked(stretch: int, word: str) -> str:
    """A word as it is indexed (`src/store/sqlite/search/stretches.rs`)."""
    return f"{stretch:x}·{word}"


def uuid(key: int, tail: int) -> bytes:
    """A UUIDv7 of its two halves (`src/store/sqlite/log/ids.rs`)."""
    return ((key >> 12) << 80 | 7 << 76 | (key & 0xFFF) << 64 | 2 << 62 | tail).to_bytes(16)


def halves(id: bytes) -> tuple[int, int]:
    bits = int.from_bytes(id)
    return (bits >> 80) << 12 | (bits >> 64) & 0xFFF, bits & ((1 << 62) - 1)


def pages(port: int, access: str, data: Path, keys: dict[str, range]) -> None:
    clients = {name: Client(port, name, access) for name in keys}
    for client in clients.values():
        client.say(type="ping")
        client.hear_a("pong")
    took: dict[str, list[float]] = {name: [] for name in [*keys, "sqlite3"]}
    chance = random.Random(11)
    with contextlib.closing(sqlite3.connect(f"file:{data}/log.db?mode=ro", uri=True)) as log:
        rooms = dict(log.execute("SELECT substr(name, 9), id FROM rooms WHERE name LIKE 'channel:%'"))
        # By turns, so that what else the machine does is the same for all.
        for _ in range(400):
            key = chance.choice(keys["edited"])
            for name, client in clients.items():
                before = keys[name][keys["edited"].index(key)]
                id = uuid(before, 0).hex()
                id = f"{id[:8]}-{id[8:12]}-{id[12:16]}-{id[16:20]}-{id[20:]}"
                took[name].append(asked(client, PAGE, "history", type="history", before=id, limit=PAGE))
            took["sqlite3"].append(timed(lambda: log.execute(HISTORY, (rooms["edited"], key)).fetchall()))
    middle = {name: statistics.median(times) for name, times in took.items()}
    print(f"a page of {PAGE}, median ms: {shown(middle['plain'])} without edits, {shown(middle['edited'])} with 10 % edited: "
          f"× {middle['edited'] / middle['plain']:.2f} (at most 1.50); sqlite3 reads the same rows in "
          f"{shown(middle['sqlite3'])}: × {middle['edited'] / middle['sqlite3']:.1f}", flush=True)


def searches(port: int, access: str, data: Path) -> None:
    client = Client(port, "plain", access)
    for word, most in (("rareword", 100), ("common", 300), ("common w1", 300)):
        took: list[float] = []
        beside: list[float] = []
        with contextlib.closing(sqlite3.connect(f"file:{data}/search.db?mode=ro", uri=True)) as index, \
                contextlib.closing(sqlite3.connect(f"file:{data}/log.db?mode=ro", uri=True)) as log:
            def look_up() -> None:
                found = 0
                for (stretch,) in index.execute("SELECT id FROM stretches ORDER BY first DESC"):
                    expression = " AND ".join(f'"{marked(stretch, part)}"' for part in word.split())
                    for (key,) in index.execute(LOOK_UP, (expression, (1 << 63) - 1)).fetchall():
                        log.execute(f"SELECT {COLUMNS} FROM messages WHERE key = ?", (key,)).fetchone()
                        found += 1
                    if found >= PAGE:
                        break

            for _ in range(30):
                # With a space behind it the last word is meant as a whole.
                expected = RARE if word == "rareword" else PAGE
                took.append(asked(client, expected, "results", type="search", query=f"{word} ", limit=PAGE))
                beside.append(timed(look_up))
        print(f"search for `{word}`, ms: median {shown(statistics.median(took))}, longest {shown(max(took))} (at most {most}); "
              f"sqlite3 finds and reads the same in {shown(statistics.median(beside))}: "
              f"× {statistics.median(took) / statistics.median(beside):.1f}", flush=True)


def erase(chat: Path, port: int, access: str, data: Path, most: float) -> None:
    stop = multiprocessing.Event()
    results: multiprocessing.Queue = multiprocessing.Queue()
    talkers = [multiprocessing.Process(target=talk, args=(port, room, access, stop, results), daemon=True)
               for room in TALKERS]
    for talker in talkers:
        talker.start()
    time.sleep(QUIET_SECONDS)
    begun = time.time()
    erasing = subprocess.Popen([str(chat), "account", "erase", ERASED], cwd=data, env=environment(data),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        told = erasing.communicate(timeout=most)[0].strip()
    except subprocess.TimeoutExpired:
        erasing.kill()
        with contextlib.closing(sqlite3.connect(data / "chat.db")) as accounts:
            (erased,) = accounts.execute("SELECT erased FROM tasks").fetchone()
        told = f"{erased:,} messages erased, and not all of them out of the search index yet,"
    ended = time.time()
    stop.set()
    latencies = [latency for _ in talkers for latency in results.get(timeout=60)]
    for talker in talkers:
        talker.join(timeout=10)
    quiet = [took for at, took in latencies if at < begun]
    during = [took for at, took in latencies if begun <= at < ended]
    print(f"{told} in {ended - begun:.0f} s; {len(during):,} messages of others meanwhile", flush=True)
    for name, share in (("median", 0.5), ("p99", 0.99), ("longest", 1)):
        print(f"  {name}, ms: {shown(quantile(quiet, share))} before, {shown(quantile(during, share))} while it is erased"
              + (f": {shown(quantile(during, share) - quantile(quiet, share))} later (at most 50)" if name == "p99" else ""),
              flush=True)


def talk(port: int, room: str, access: str, stop, results) -> None:
    """Says something so many times a second, whatever becomes of it, and notes when its echo comes."""
    client = Client(port, room, access)
    latencies, number = [], 0
    due = time.time()
    while not stop.is_set():
        number += 1
        mark = f"{os.getpid()}-{number}"
        client.say(type="message", text=mark, ref=mark)
        begin = f'{{"type":"ack","ref":"{mark}"'.encode()
        while not client.hear().startswith(begin):
            pass
        # From when it was to be said: one that waited for the one before it has waited, too.
        latencies.append((due, time.time() - due))
        due += 1 / PER_SECOND
        time.sleep(max(0, due - time.time()))
    results.put(latencies)


def asked(client: Client, expected: int, answer: str, **question) -> float:
    """How long an answer takes, which has so many messages."""
    begun = time.perf_counter()
    client.say(**question)
    frame = client.hear_a(answer)
    took = time.perf_counter() - begun
    messages = json.loads(frame)["messages"]
    if len(messages) != expected:
        raise SystemExit(f"scripts/bench: {question} found {len(messages)} messages, not {expected}")
    return took


def timed(work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def quantile(values: list[float], share: float) -> float:
    values = sorted(values)
    return values[min(int(len(values) * share), len(values) - 1)] if values else float("nan")


def shown(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"

"""What a Redis of 64 MiB carries where there is an archive: 2,000 rooms of 5,000 messages, to the first one.

Most messages are put into PostgreSQL as the archiver would leave them, behind the server's back. The newest of each room
are said through the server, while Redis has no more memory than that.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pwd
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import machine
from client import Client, call
from programs import ROOT, Missing, this_server
from rooms import started
from servers import end, free_port, listening

ROOMS = 2_000
QUICK = 100
MESSAGES = 5_000
# Of these, so many are said.
SAID = 150
HOT = 100
MAXMEMORY = "64mb"
# Rooms whose whole history is read, and how many pages are timed.
SAMPLE = 20
TIMED = 400
PAGE = 50
WALK = 100
ARCHIVED_SECONDS = 300

# Of `dummy/test.sql`.
EMAIL, PASSWORD = "alice@propromo.example", "alice-password"
LIMITS = {"MESSAGE_RATE": "0", "LOGIN_RATE": "0", "SEARCH_RATE": "0", "HISTORY_MAX": "0", "MAX_CONNECTIONS_PER_ADDRESS": "0",
          "HANDSHAKE_RATE": "0", "TICKET_RATE": "0", "CHANNEL_RATE": "0", "CHANNELS_PER_ACCOUNT": "0",
          # Those whose pages are read later say nothing until then.
          "PING_INTERVAL": "600", "PONG_TIMEOUT": "1200"}

# A text is written twice: here for what is said, and in SQL for what is said to have been.
WORDS = ["oak", "ash", "elm", "fir", "yew", "box", "bay", "fig"]


def text_of(number: int) -> str:
    return " ".join([f"m{number:05}", "was said here by", *(WORDS[number // 8**n % 8] for n in range(5)), f"x{number % 977}"])


SQL_TEXT = "'m' || lpad(n::text, 5, '0') || ' was said here by ' || " + " || ' ' || ".join(
    f"(ARRAY{WORDS})[n / {8**n} % 8 + 1]" for n in range(5)) + " || ' x' || n % 977"

FILL = """
INSERT INTO chat.messages (room, id, body, words)
SELECT room, (lpad(to_hex(begun + n), 12, '0') || '7000' || tail)::uuid, head || convert_to(text, 'UTF8'),
    array_to_tsvector(ARRAY[word] || string_to_array(text, ' '))
FROM (
    SELECT room, right(replace(id::text, '-', ''), 16) AS tail,
        substring(body FOR length(body) - %(length)s) AS head,
        (SELECT lexeme FROM unnest(words) WHERE lexeme LIKE 'r:%%') AS word,
        (extract(epoch FROM now()) * 1000)::bigint - 86400000 AS begun
    FROM chat.messages WHERE room >= '%(first)s' AND room < '%(last)s'
) AS model, generate_series(0, %(count)s - 1) AS n, LATERAL (SELECT %(text)s AS text) AS said
"""


def run(arguments: argparse.Namespace) -> int:
    chat = Path(next(iter(arguments.also.values()), None) or this_server()).resolve()
    rooms = [f"room-{n:04}" for n in range(QUICK if arguments.quick else ROOMS)]
    print(f"{len(rooms):,} rooms of {MESSAGES:,} messages, HISTORY_HOT={HOT}, Redis with maxmemory {MAXMEMORY}, "
          f"on {machine.describe()}; others keep {machine.busy():.1f} cores busy", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as scratch, contextlib.ExitStack() as stack:
        scratch = Path(scratch)
        scratch.chmod(0o755)
        database = stack.enter_context(Database.started(scratch))
        redis = stack.enter_context(Redis.started(scratch))
        (scratch / "data").mkdir()
        environment = {"PATH": os.environ.get("PATH", ""), "LISTEN": "127.0.0.1:0", "DATA_DIR": str(scratch / "data"),
                       "DATABASE_URL": database.url, "CHAT_STORAGE_URL": f"redis://127.0.0.1:{redis.port}",
                       "HISTORY_HOT": str(HOT)} | LIMITS
        with started(chat, scratch, environment) as (_, port, _):
            say(port, rooms, MESSAGES - SAID, 1)
            database.holds(len(rooms))
        begun = time.monotonic()
        fill(database, redis, rooms)
        print(f"{len(rooms) * (MESSAGES - SAID):,} messages put into PostgreSQL in {time.monotonic() - begun:.0f} s", flush=True)
        with started(chat, scratch, environment) as (_, port, _):
            begun = time.monotonic()
            say(port, rooms, MESSAGES - SAID + 1, SAID - 1)
            said = time.monotonic() - begun
            database.holds(len(rooms) * MESSAGES)
            print(f"{len(rooms) * (SAID - 1):,} said through the server at {len(rooms) * (SAID - 1) / said:,.0f} a second, "
                  f"archived {time.monotonic() - begun - said:.1f} s after the last", flush=True)
            redis.tell()
            read(port, rooms)
        redis.tell()
        print(f"PostgreSQL: {database.ask('SELECT pg_size_pretty(pg_total_relation_size($$chat.messages$$))')} for "
              f"{database.ask('SELECT count(*) FROM chat.messages')} messages", flush=True)
    return 0


class Database:
    def __init__(self, binaries: Path, owner: dict, scratch: Path, port: int):
        self.binaries, self.owner, self.scratch, self.port = binaries, owner, scratch, port
        self.url = f"postgres://bench@127.0.0.1:{port}/bench?sslmode=disable"

    @staticmethod
    @contextlib.contextmanager
    def started(scratch: Path) -> Iterator["Database"]:
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        found = versions[-1] if versions else shutil.which("initdb")
        if not found:
            raise Missing("PostgreSQL's server is missing; install it (Debian: postgresql)")
        # It refuses to run as root.
        owner = {}
        if os.geteuid() == 0:
            user = next(user for user in pwd.getpwall() if user.pw_name in ("postgres", "nobody"))
            owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        home = scratch / "postgres"
        home.mkdir()
        if owner:
            os.chown(home, owner["user"], owner["group"])
        database = Database(Path(found).parent, owner, home, free_port())
        database.command("initdb", "-D", str(home / "data"), "-U", "bench", "--auth", "trust", "--no-sync", "--locale", "C.UTF-8",
                         "--encoding", "UTF8")
        options = ["listen_addresses=127.0.0.1", f"port={database.port}", "fsync=off", "shared_buffers=256MB",
                   "maintenance_work_mem=512MB", "max_wal_size=8GB", "wal_level=minimal", "max_wal_senders=0"]
        with (scratch / "postgres.log").open("wb") as out:
            process = subprocess.Popen(
                [str(database.binaries / "postgres"), "-D", str(home / "data"), "-k", str(home),
                 *(part for option in options for part in ("-c", option))],
                cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **owner)
            try:
                listening(process, database.port, scratch / "postgres.log")
                while not database.answers():
                    time.sleep(0.1)
                database.command("createdb", "-h", "127.0.0.1", "-p", str(database.port), "-U", "bench", "bench")
                database.ask((ROOT / "dummy" / "test.sql").read_text())
                yield database
            finally:
                # INT: sessions that are still there do not hold it up.
                process.send_signal(2)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(60)
                end(process)

    def command(self, name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        done = subprocess.run([str(self.binaries / name), *arguments], cwd=self.scratch, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, **self.owner)
        if check and done.returncode != 0:
            raise SystemExit(f"scripts/bench: {name} failed: {done.stderr.strip()}")
        return done

    def psql(self, database: str, sql: str, check: bool = True) -> subprocess.CompletedProcess:
        return self.command("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench", "-d", database, "-X", "-q", "-A",
                            "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, check=check)

    def answers(self) -> bool:
        return self.psql("postgres", "SELECT 1", check=False).returncode == 0

    def ask(self, sql: str) -> str:
        return self.psql("bench", sql).stdout.strip()

    def holds(self, count: int) -> None:
        """Waits until so many messages are archived."""
        until = time.monotonic() + ARCHIVED_SECONDS
        while (held := int(self.ask("SELECT coalesce(sum(kept), 0) FROM chat.archive"))) < count:
            if time.monotonic() > until:
                raise SystemExit(f"scripts/bench: {held:,} of {count:,} messages are archived")
            time.sleep(0.2)


class Redis:
    def __init__(self, port: int):
        self.port = port

    @staticmethod
    @contextlib.contextmanager
    def started(scratch: Path) -> Iterator["Redis"]:
        if not (shutil.which("redis-server") and shutil.which("redis-cli")):
            raise Missing("redis-server is missing; install it (Debian: redis-server)")
        port = free_port()
        with (scratch / "redis.log").open("wb") as out:
            process = subprocess.Popen(
                ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(scratch),
                 "--maxmemory", MAXMEMORY, "--maxmemory-policy", "noeviction"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            try:
                listening(process, port, scratch / "redis.log")
                yield Redis(port)
            finally:
                end(process)

    def ask(self, commands: list[list[str]]) -> list[str]:
        lines = "".join(" ".join(command) + "\n" for command in commands)
        done = subprocess.run(["redis-cli", "-p", str(self.port)], input=lines, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def tell(self) -> None:
        info = dict(line.split(":", 1) for line in self.ask([["INFO"]]) if ":" in line)
        refused = "errorstat_OOM" in info
        print(f"Redis: {int(info['used_memory']) / 2**20:.1f} MiB used, at most {int(info['used_memory_peak']) / 2**20:.1f} "
              f"of {int(info['maxmemory']) / 2**20:.0f}; it has refused {'messages' if refused else 'nothing'}", flush=True)
        if refused:
            raise SystemExit("scripts/bench: Redis was full")


def say(port: int, rooms: list[str], first: int, count: int) -> None:
    """Has so many messages said in each room, by several at a time."""
    access = call(port, "/auth", {"user": EMAIL, "pwd": PASSWORD})["token"]
    speakers = [multiprocessing.Process(target=say_in, args=(port, access, rooms[n::4], first, count), daemon=True)
                for n in range(4)]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()
        if speaker.exitcode != 0:
            raise SystemExit("scripts/bench: not everything was said")


def say_in(port: int, access: str, rooms: list[str], first: int, count: int) -> None:
    for room in rooms:
        client = Client(port, room, access)
        # Without references: each takes some 200 bytes of Redis for a day, whatever becomes of its message.
        for number in range(first, first + count):
            client.say(type="message", text=text_of(number))
        for number in range(first, first + count):
            said = f'"text":"{text_of(number)}"'.encode()
            while said not in (frame := client.hear()):
                if frame.endswith(b'"type":"error"}'):
                    raise SystemExit(f"scripts/bench: {frame.decode()}")
        client.socket.close()


def fill(database: Database, redis: Redis, rooms: list[str]) -> None:
    """Puts what came before the one message of each room into the archive, and takes it that Redis has let go of it."""
    database.ask("DROP INDEX chat.messages_by_word")
    names = [f"channel:{room}" for room in rooms]
    parts = [names[: len(names) // 2], names[len(names) // 2:]]

    def parameters(part: list[str]) -> dict:
        return {"first": part[0], "last": part[-1] + "~", "count": MESSAGES - SAID, "text": SQL_TEXT,
                "length": len(text_of(MESSAGES - SAID))}

    halves = [multiprocessing.Process(target=database.ask, args=(FILL % parameters(part),)) for part in parts]
    for half in halves:
        half.start()
    for half in halves:
        half.join()
        if half.exitcode != 0:
            raise SystemExit("scripts/bench: the archive can't be filled")
    database.ask("CREATE INDEX messages_by_word ON chat.messages USING gin (words)")
    database.ask(f"UPDATE chat.archive SET kept = kept + {MESSAGES - SAID}")
    database.ask("ANALYZE chat.messages")
    lasts = redis.ask([["HGET", f"propromo:{{{name}}}:head", "last"] for name in names])
    redis.ask([command for name, last in zip(names, lasts, strict=True)
               for command in (["HSET", f"propromo:{{{name}}}:head", "hot_from", last],
                               ["HDEL", f"propromo:{{{name}}}:head", "whole"])])


def read(port: int, rooms: list[str]) -> None:
    access = call(port, "/auth", {"user": EMAIL, "pwd": PASSWORD})["token"]
    chance = random.Random(17)
    clients = {room: Client(port, room, access) for room in chance.sample(rooms, min(SAMPLE, len(rooms)))}
    known: dict[str, list[str]] = {}
    for room, client in clients.items():
        known[room] = walk(client, room)
    print(f"the whole history of {len(known)} rooms was read: {MESSAGES:,} messages each, in order, none twice", flush=True)
    searched = []
    for client in clients.values():
        for number in (0, MESSAGES // 2, MESSAGES - 1):
            begun = time.perf_counter()
            client.say(type="search", query=f"m{number:05} ", limit=PAGE)
            found = json.loads(client.hear_a("results"))["messages"]
            searched.append(time.perf_counter() - begun)
            if [message["text"] for message in found] != [text_of(number)]:
                raise SystemExit(f"scripts/bench: a search for message {number} found {found}")
    print(f"search for one word of the first, the middle and the last message, ms: median {shown(statistics.median(searched))}, "
          f"longest {shown(max(searched))}", flush=True)
    took: dict[str, list[float]] = {"hot": [], "archived": []}
    # By turns, so that what else the machine does is the same for both.
    for _ in range(TIMED):
        room = chance.choice(list(clients))
        for kind, before in (("hot", known[room][-1]), ("archived", known[room][chance.randrange(PAGE, MESSAGES - SAID)])):
            begun = time.perf_counter()
            clients[room].say(type="history", before=before, limit=PAGE)
            page = json.loads(clients[room].hear_a("history"))["messages"]
            took[kind].append(time.perf_counter() - begun)
            if len(page) != PAGE:
                raise SystemExit(f"scripts/bench: a {kind} page has {len(page)} messages")
    hot, archived = (statistics.median(took[kind]) for kind in ("hot", "archived"))
    print(f"a page of {PAGE}, median ms: {shown(hot)} hot, {shown(archived)} archived: × {archived / hot:.2f} (at most 3.00); "
          f"longest {shown(max(took['hot']))} and {shown(max(took['archived']))}", flush=True)


def walk(client: Client, room: str) -> list[str]:
    """The ids of all messages of a room."""
    pages: list[dict] = []
    while True:
        client.say(type="history", before=pages[0]["id"] if pages else None, limit=WALK)
        answer = json.loads(client.hear_a("history"))
        pages[:0] = answer["messages"]
        if not answer["more"]:
            break
    if [message["text"] for message in pages] != [text_of(number) for number in range(MESSAGES)]:
        raise SystemExit(f"scripts/bench: {room} shows {len(pages)} messages, or not in their order")
    ids = [message["id"] for message in pages]
    if ids != sorted(set(ids)):
        raise SystemExit(f"scripts/bench: the ids of {room} are out of order")
    return ids


def shown(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"

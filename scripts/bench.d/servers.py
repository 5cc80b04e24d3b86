"""The servers that are compared: each started for one run, on a free port, and ended by its pid."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import machine
from programs import Missing, Programs

# Name on the command line and name in tables.
SERVERS = {
    "chat": "propromo-chat",
    "bun": "Bun",
    "node-ws": "node-ws",
    "floor-direct": "floor, direct",
    "floor-lane": "floor, lane",
}

EMAIL = "bench@example.org"
# Longer than any run.
TOKEN_LIFE = 6 * 3600
START = 15
STOP = 15

# What differs from this server's defaults.
CHAT_SETTINGS = {"MESSAGE_RATE": "0", "LOGIN_RATE": "0", "HANDSHAKE_RATE": "0", "MAX_CONNECTIONS_PER_ADDRESS": "0"}


@dataclass
class Running:
    pid: int
    url_template: str
    tokens: Path | None


class Fleet:
    """Starts servers; what they leave behind is in one temporary directory."""

    def __init__(self, programs: Programs, directory: Path):
        self.programs = programs
        self.directory = directory
        self.secret = secrets.token_hex(32)
        self.templates: dict[tuple[str, int], Path] = {}
        self.names = [*programs.chat, *programs.peers, "floor-direct", "floor-lane"]

    def title(self, name: str) -> str:
        return SERVERS.get(name, name)

    @contextlib.contextmanager
    def start(self, name: str, *, rooms: int, tokens: int, cores: list[int] = machine.CORES,
              settings: dict[str, str] | None = None, history: int = 0) -> Iterator[Running]:
        """A fresh server with `rooms` rooms, which takes `tokens` handshakes."""
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=self.directory) as scratch:
            scratch = Path(scratch)
            if name in self.programs.chat:
                starting = self._serving(name, scratch, rooms, tokens, settings or {}, history)
            elif name in self.programs.peers:
                starting = self._peer(name, scratch)
            else:
                starting = self._floor(name, scratch)
            command, environment, where, expect, token_file = starting
            with (scratch / "log").open("wb") as log:
                process = subprocess.Popen(
                    command, cwd=where, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    preexec_fn=machine.on_cores(cores),
                )
                try:
                    port = expect(process)
                    url = f"ws://127.0.0.1:{port}/chat/room{{room}}" + ("?auth={token}" if token_file else "")
                    yield Running(process.pid, url, token_file)
                finally:
                    end(process)

    def _peer(self, name: str, scratch: Path):
        command, where = self.programs.peers[name]
        port = free_port()
        environment = os.environ | {"PORT": str(port)}
        return command, environment, where, lambda process: listening(process, port, scratch / "log"), None

    def _floor(self, name: str, scratch: Path):
        port = free_port()
        command = [str(self.programs.floor), str(port), "64", name.removeprefix("floor-")]
        return command, os.environ, scratch, lambda process: listening(process, port, scratch / "log"), None

    def _serving(self, name: str, scratch: Path, rooms: int, tokens: int, settings: dict[str, str], history: int):
        command, environment = self.chat(name, scratch, rooms=rooms, settings=settings)
        if history:
            self._prefill(name, environment, scratch / "data", rooms, history)
        token_file = scratch / "tokens"
        self.sign(name, scratch / "data", tokens, token_file)

        def expect(process: subprocess.Popen) -> int:
            return announced(process, scratch / "log")

        return command, environment, scratch, expect, token_file

    def chat(self, name: str, scratch: Path, *, rooms: int, settings: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """Makes `scratch/data` with `rooms` rooms. Returns what starts this server there: a command and its environment."""
        data = scratch / "data"
        shutil.copytree(self._template(name, rooms), data)
        return [str(self.programs.chat[name]), "serve"], self._environment(data) | CHAT_SETTINGS | settings

    def _environment(self, data: Path) -> dict[str, str]:
        """Nothing of the caller's own settings may reach the server."""
        return {"PATH": os.environ.get("PATH", ""), "LISTEN": "127.0.0.1:0", "DATA_DIR": str(data),
                "JWT_PRIVATE_KEY": self.secret}

    def _command(self, name: str, data: Path, *arguments: str, answer: str = "") -> str:
        done = subprocess.run(
            [str(self.programs.chat[name]), *arguments], cwd=data, env=self._environment(data), input=answer,
            capture_output=True, text=True, timeout=60,
        )
        if done.returncode != 0:
            raise Missing(f"{name} {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _template(self, name: str, rooms: int) -> Path:
        """A data directory whose one account is in the monitors room0, room1, …

        The first of each is made by the server's own commands, the others are copies of those rows: so this
        knows the names of three tables, and no columns but the keys.
        """
        if found := self.templates.get((name, rooms)):
            return found
        data = Path(tempfile.mkdtemp(prefix=f"template-{name}-", dir=self.directory))
        self._command(name, data, "monitor", "add", "room0")
        self._command(name, data, "account", "add", EMAIL, "--monitor", "room0", "--password-stdin",
                      answer=f"{secrets.token_hex(16)}\n")
        with contextlib.closing(sqlite3.connect(data / "chat.db")) as database, database:
            columns = [row[1] for row in database.execute("PRAGMA table_info(monitors)")]
            copied = [column for column in columns if column not in ("id", "monitor_hash")]
            numbers = [(n,) for n in range(1, rooms)]
            database.executemany(
                f"INSERT INTO monitors (monitor_hash, {', '.join(copied)}) "
                f"SELECT 'room' || ?, {', '.join(copied)} FROM monitors WHERE monitor_hash = 'room0'", numbers)
            database.execute(
                "INSERT OR IGNORE INTO monitor_user (user_id, monitor_id) SELECT users.id, monitors.id FROM users, monitors")
        self.templates[(name, rooms)] = data
        return data

    def _prefill(self, name: str, environment: dict[str, str], data: Path, rooms: int, history: int) -> None:
        """Puts `history` messages into each room, behind the server's back: it makes its tables first."""
        log = data / "starting"
        with log.open("wb") as out:
            process = subprocess.Popen([str(self.programs.chat[name]), "serve"], cwd=data, env=environment,
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            try:
                announced(process, log)
            finally:
                end(process)
        # Ids are UUIDv7 cut in two: milliseconds and a counter of 12 bits, and a random tail. No two messages have the
        # same first half.
        first = (int(time.time() * 1000) - rooms * history // 1000 - 1000) << 12
        with contextlib.closing(sqlite3.connect(data / "log.db")) as database, database:
            text = "x" * 128
            ids = [database.execute("INSERT INTO rooms (name) VALUES ('monitor:room' || ?)", (n,)).lastrowid
                   for n in range(rooms)]
            database.executemany(
                "INSERT INTO messages (key, room, tail, sender, text) VALUES (?, ?, ?, ?, ?)",
                ((first + (n // 1000 << 12) + n % 1000, ids[n % rooms], secrets.randbits(62), EMAIL, text)
                 for n in range(rooms * history)))
            database.execute("INSERT OR IGNORE INTO by_room SELECT room, key FROM messages ORDER BY room, key")
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            # Before there was a journal the tables said up to where their index went.
            upto = "applied" if "applied" in tables else "indexed"
            database.execute(f"INSERT OR REPLACE INTO {upto} SELECT 0, max(key) FROM messages")

    def sign(self, name: str, data: Path, count: int, path: Path) -> None:
        """So many single-use tokens: one signed by the server's own command, the others as it, with other `jti`s."""
        model = self._command(name, data, "token", "--email", EMAIL, "--ttl", str(TOKEN_LIFE))
        header, payload, _ = model.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        key = hmac.new(self.secret.encode(), digestmod=hashlib.sha256)
        with path.open("w") as out:
            for n in range(count):
                claims["jti"] = encoded(n.to_bytes(8) + secrets.token_bytes(8))
                signed = f"{header}.{encoded(json.dumps(claims, separators=(',', ':')).encode())}"
                mac = key.copy()
                mac.update(signed.encode())
                out.write(f"{signed}.{encoded(mac.digest())}\n")


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(process: subprocess.Popen, port: int, log: Path) -> int:
    """Waits until the port takes connections."""
    for _ in patiently(process, log):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return port
    raise Missing(f"process {process.pid} does not listen on {port}: {tail(log)}")


def announced(process: subprocess.Popen, log: Path) -> int:
    """Waits for the line `listening on http://ADDRESS:PORT`."""
    for _ in patiently(process, log):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("listening on http://"):
                return int(line.rsplit(":", 1)[1])
    raise Missing(f"process {process.pid} does not say that it listens: {tail(log)}")


def patiently(process: subprocess.Popen, log: Path) -> Iterator[None]:
    until = time.monotonic() + START
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Missing(f"{process.args[0]} ended at once: {tail(log)}")
        yield
        time.sleep(0.02)


def tail(log: Path) -> str:
    return "; ".join(log.read_text(errors="replace").splitlines()[-3:])


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

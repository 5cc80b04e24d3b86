"""What a room costs that nobody is in: memory, the time of a start, and of a message in one of very many rooms.

Each of 100,000 channels is said one message by the API, over one kept connection; then the server starts again.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import machine
from programs import Missing, this_server
from servers import announced, end, free_port, listening

ROOMS = 100_000
QUICK = 10_000
# Messages whose time is measured, in rooms apart.
SAMPLE = 500
TEXT = "what was said first in this room, and is 60 characters long."


def run(arguments: argparse.Namespace) -> int:
    builds = arguments.also or {"chat": str(this_server())}
    count = QUICK if arguments.quick else ROOMS
    print(f"{count:,} rooms, on {machine.describe()}; others keep {machine.busy():.1f} cores busy", flush=True)
    for name, chat in builds.items():
        for store in ("embedded", "redis"):
            with tempfile.TemporaryDirectory(prefix="bench-rooms-") as scratch, stored(store, Path(scratch)) as settings:
                measure(f"{name}, {store}", Path(chat).resolve(), Path(scratch), settings, count)
    return 0


def measure(title: str, chat: Path, scratch: Path, settings: dict[str, str], count: int) -> None:
    key = secrets.token_hex(32)
    data = scratch / "data"
    data.mkdir()
    environment = {"PATH": os.environ.get("PATH", ""), "LISTEN": "127.0.0.1:0", "DATA_DIR": str(data),
                   "API_KEYS": f"bench publish {key}", "PUBLISH_RATE": "0", "CHANNELS_PER_KEY": "0"} | settings
    with started(chat, scratch, environment) as (pid, port, _):
        backend = Backend(port, key)
        few = [backend.publish(n % 10) for n in range(SAMPLE)]
        before = resident(pid)
        for n in range(count):
            backend.publish(n)
        grown = resident(pid) - before
        many = [backend.publish(n * (count // SAMPLE)) for n in range(SAMPLE)]
    with started(chat, scratch, environment) as (pid, port, took):
        at_start = resident(pid)
        backend = Backend(port, key)
        again = [backend.publish(n * (count // SAMPLE)) for n in range(SAMPLE)]
    ms = [1000 * statistics.median(times) for times in (few, many, again)]
    print(f"{title}: {grown / count:.2f} KiB of memory a room; a start takes {took:.2f} s and {at_start / 1024:.0f} MiB; "
          f"a message takes {ms[0]:.2f} ms in one of 10 rooms, {ms[1]:.2f} ms in one of all, {ms[2]:.2f} ms after the start "
          f"(medians)", flush=True)


@contextlib.contextmanager
def stored(store: str, scratch: Path) -> Iterator[dict[str, str]]:
    """The settings of a server with this store, which is there until the end."""
    if store == "embedded":
        yield {}
        return
    if not shutil.which("redis-server"):
        raise Missing("redis-server is missing; install it (Debian: redis-server)")
    port = free_port()
    with (scratch / "redis.log").open("wb") as out:
        redis = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(scratch)],
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            listening(redis, port, scratch / "redis.log")
            yield {"CHAT_STORAGE_URL": f"redis://127.0.0.1:{port}"}
        finally:
            end(redis)


@contextlib.contextmanager
def started(chat: Path, scratch: Path, environment: dict[str, str]) -> Iterator[tuple[int, int, float]]:
    """A server: its process, its port, and the seconds until it listened."""
    log = scratch / "log"
    begun = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen([str(chat), "serve"], cwd=scratch, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=out)
        try:
            port = announced(process, log)
            yield process.pid, port, time.monotonic() - begun
        finally:
            end(process)


class Backend:
    def __init__(self, port: int, key: str):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def publish(self, room: int) -> float:
        """Seconds until it was stored."""
        begun = time.perf_counter()
        self.connection.request("POST", f"/api/v1/rooms/channel:room-{room}/messages", json.dumps({"text": TEXT}), self.headers)
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status != 201:
            raise SystemExit(f"scripts/bench: not published: {answer.status} {said[:200]!r}")
        return time.perf_counter() - begun


def resident(pid: int) -> int:
    """Resident memory in KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))

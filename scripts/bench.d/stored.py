"""A million messages that came through the front door: memory, bytes written, disk, a start, a page of history, and a start
after `kill -9` under full load.
"""

import argparse
import contextlib
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import generator
import machine
from generator import Result
from programs import Missing, Programs
from servers import Fleet, Running, announced, end

MESSAGES = 1_000_000
QUICK = 50_000
ROOMS = 10
SENDERS = 100
# Messages that a sender keeps on their way.
WINDOW = 4
# Seconds of load at a time; the server is killed in the middle of the last.
LOAD = 5
# Connections whose history is timed, one after the other.
JOINS = 300
# What is on disk rests once it was the same for so many seconds.
REST = 3
REST_AT_MOST = 120


def run(arguments: argparse.Namespace, programs: Programs) -> int:
    count = QUICK if arguments.quick else MESSAGES
    print(f"{count:,} messages in {ROOMS} rooms, on {machine.describe()}; others keep {machine.busy():.1f} cores busy", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-stored-") as directory:
        fleet = Fleet(programs, Path(directory))
        for name in programs.chat:
            measure(fleet, programs.loadgen, name, count)
    return 0


def measure(fleet: Fleet, loadgen: Path, name: str, count: int) -> None:
    def say(what: str) -> None:
        print(f"{fleet.title(name)}: {what}", flush=True)

    with tempfile.TemporaryDirectory(dir=fleet.directory) as scratch:
        place = Place(fleet, name, Path(scratch))
        with place.started() as (server, _):
            before, written, sent = resident(server.pid), bytes_written(server.pid), 0
            empty = joins(loadgen, place, server)
            begun = time.monotonic()
            while sent < count:
                sent += load(loadgen, place, server, LOAD)
            rate = sent / (time.monotonic() - begun)
            settle(place.data)
            say(f"{sent:,} messages, {rate:,.0f} a second; {(bytes_written(server.pid) - written) / sent:,.0f} bytes written "
                f"and {disk(place.data) / sent:,.0f} on disk a message")
            say(f"resident memory {mib(before)} with none, {mib(resident(server.pid))} with all")
            say(f"joins: {joined(empty)} with none, {joined(joins(loadgen, place, server))} with all")
        with place.started() as (server, took):
            say(f"a start takes {took:.2f} s, and then {mib(resident(server.pid))}")
            killer = subprocess.Popen(["sh", "-c", f"sleep {LOAD / 2}; kill -9 {server.pid}"])
            load(loadgen, place, server, LOAD)
            killer.wait()
        with place.started() as (_, took):
            replayed = re.search(r"its journal has been replayed.*", place.log.read_text())
            say(f"a start after kill -9 takes {took:.2f} s: {replayed.group(0) if replayed else 'there was no journal'}")


class Place:
    """A data directory, and a server that runs in it now and then."""

    def __init__(self, fleet: Fleet, name: str, scratch: Path):
        self.fleet, self.name, self.scratch = fleet, name, scratch
        self.data, self.log, self.tokens = scratch / "data", scratch / "log", scratch / "tokens"
        settings = {"HISTORY_MAX": "0", "STORE_MAX": "0"}
        self.command, self.environment = fleet.chat(name, scratch, rooms=ROOMS, settings=settings)

    @contextlib.contextmanager
    def started(self) -> Iterator[tuple[Running, float]]:
        """A server, and the seconds until it listened."""
        begun = time.monotonic()
        with self.log.open("wb") as out:
            process = subprocess.Popen(self.command, cwd=self.scratch, env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=out)
            try:
                port = announced(process, self.log)
                took = time.monotonic() - begun
                yield Running(process.pid, f"ws://127.0.0.1:{port}/chat/room{{room}}?auth={{token}}", self.tokens), took
            finally:
                end(process)

    def sign(self, count: int) -> None:
        """Tokens for the next run of the generator: each is spent once."""
        self.fleet.sign(self.name, self.data, count, self.tokens)


def load(loadgen: Path, place: Place, server: Running, seconds: int) -> int:
    place.sign(SENDERS)
    said = generator.run(loadgen, server, [
        "fanout", "--clients", str(SENDERS), "--rooms", str(ROOMS), "--senders", str(SENDERS), "--window", str(WINDOW),
        "--size", "128", "--seconds", str(seconds), "--warmup", "0"]).said
    return said.get("sent", 0)


def joins(loadgen: Path, place: Place, server: Running) -> Result:
    place.sign(JOINS)
    return generator.run(loadgen, server, ["storm", "--clients", str(JOINS), "--rooms", str(ROOMS), "--concurrency", "1"])


def joined(result: Result) -> str:
    """How long a client waited for its history of a page, and for the close after it."""
    if result.faults:
        raise Missing(f"joins: {'; '.join(result.faults)}")
    return f"{result.figure('handshake_us', 'p50') / 1000:.2f} + {result.figure('close_us', 'p50') / 1000:.2f} ms"


def settle(data: Path) -> None:
    """Waits until the background has put everything into its place."""
    until, size, since = time.monotonic() + REST_AT_MOST, -1, time.monotonic()
    while time.monotonic() < until and time.monotonic() - since < REST:
        if (now := disk(data)) != size:
            size, since = now, time.monotonic()
        time.sleep(0.2)


def disk(directory: Path) -> int:
    sizes = 0
    for file in directory.rglob("*"):
        # A segment of the journal may go between the two.
        with contextlib.suppress(FileNotFoundError):
            sizes += file.stat().st_size if file.is_file() else 0
    return sizes


def bytes_written(pid: int) -> int:
    """What the process has given to be written to disks, pages of its files included."""
    return int(re.search(r"^wchar: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE).group(1))


def resident(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) << 10


def mib(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB"

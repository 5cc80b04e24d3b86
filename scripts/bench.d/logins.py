"""What chat feels of logins: the time of a message to its echo beside none, beside logins with bcrypt, and with argon2id.

Laravel's own parameters of both: bcrypt of cost 12, argon2id of 64 MiB and four passes.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import machine
from client import Client, call
from programs import this_server
from servers import announced, end

SECONDS, QUICK_SECONDS = 20.0, 4.0
REPETITIONS = 3
PER_SECOND = 100
# So many log in at a time, over and over: more than have their hash checked at once.
AT_A_TIME = 8

SPEAKER, COMER = "speaker@example.org", "comer@example.org"
PASSWORD = "bench-password"
ARGON2ID = "$argon2id$v=19$m=65536,t=4,p=1$T2FHUllXLkdRc0h5NndvVQ$O7AcTxvjdNzhffF6LQWxx61S0C2SDhhPXFp6smMwLQI"
SETTINGS = {"MESSAGE_RATE": "0", "LOGIN_RATE": "0", "MAX_CONNECTIONS_PER_ADDRESS": "0"}


def run(arguments: argparse.Namespace) -> int:
    builds = arguments.also or {"chat": str(this_server())}
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    repetitions = arguments.repetitions or (1 if arguments.quick else REPETITIONS)
    print(f"{PER_SECOND} messages a second for {seconds:.0f} s, beside {AT_A_TIME} who log in over and over, on "
          f"{machine.describe()}; others keep {machine.busy():.1f} cores busy", flush=True)
    for repetition in range(repetitions):
        for name, chat in builds.items():
            for kind in ("none", "bcrypt", "argon2id"):
                with tempfile.TemporaryDirectory(prefix="bench-logins-") as scratch:
                    measure(f"{name} {repetition + 1}, {kind}", Path(chat).resolve(), Path(scratch), kind, seconds)
    return 0


def measure(title: str, chat: Path, scratch: Path, kind: str, seconds: float) -> None:
    data = scratch / "data"
    data.mkdir()
    environment = {"PATH": os.environ.get("PATH", ""), "LISTEN": "127.0.0.1:0", "DATA_DIR": str(data)} | SETTINGS
    for email in (SPEAKER, COMER):
        subprocess.run([str(chat), "account", "add", email, "--password-stdin"], cwd=scratch, env=environment, check=True,
                       input=f"{PASSWORD}\n", text=True, capture_output=True)
    if kind == "argon2id":
        with contextlib.closing(sqlite3.connect(data / "chat.db")) as accounts, accounts:
            accounts.execute("UPDATE users SET password = ? WHERE email = ?", (ARGON2ID, COMER))
    with started(chat, scratch, environment) as port:
        client = Client(port, "room", call(port, "/auth", {"user": SPEAKER, "pwd": PASSWORD})["token"])
        with coming(port, 0 if kind == "none" else AT_A_TIME) as logins:
            before, took = logins.value, echoes(client, seconds)
            came = (logins.value - before) / seconds
    took.sort()
    p50, p99, longest = (1000 * took[min(len(took) - 1, int(len(took) * share))] for share in (0.5, 0.99, 1))
    print(f"{title}: {came:.1f} logins a second; a message to its echo, ms: p50 {p50:.2f}, p99 {p99:.2f}, longest {longest:.2f}",
          flush=True)


def echoes(client: Client, seconds: float) -> list[float]:
    """How long each message took that is due by a clock, so that one that is late does not hide the next."""
    begun = time.perf_counter()
    took = []
    for number in range(int(seconds * PER_SECOND)):
        due = begun + number / PER_SECOND
        time.sleep(max(0.0, due - time.perf_counter()))
        client.say(type="message", text=f"number {number}")
        said = f'"text":"number {number}"'.encode()
        while said not in client.hear():
            pass
        took.append(time.perf_counter() - due)
    return took


@contextlib.contextmanager
def started(chat: Path, scratch: Path, environment: dict[str, str]) -> Iterator[int]:
    log = scratch / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([str(chat), "serve"], cwd=scratch, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=out)
        try:
            yield announced(process, log)
        finally:
            end(process)


@contextlib.contextmanager
def coming(port: int, count: int) -> Iterator:
    """People who log in over and over; how often they have."""
    over, logins = multiprocessing.Event(), multiprocessing.Value("l", 0)
    people = [multiprocessing.Process(target=log_in, args=(port, over, logins), daemon=True) for _ in range(count)]
    for person in people:
        person.start()
    try:
        # The first ones are at work by then.
        while count and logins.value < count and all(person.is_alive() for person in people):
            time.sleep(0.05)
        yield logins
        if not all(person.is_alive() for person in people):
            raise SystemExit("scripts/bench: somebody could not log in")
    finally:
        over.set()
        for person in people:
            person.join()


def log_in(port: int, over: Event, logins) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"user": COMER, "pwd": PASSWORD})
    while not over.is_set():
        connection.request("POST", "/auth", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        # 503: too many wait for their hash at once, and are told to come again.
        if answer.status == 200:
            with logins.get_lock():
                logins.value += 1
        elif answer.status == 503:
            time.sleep(0.1)
        else:
            raise SystemExit(f"scripts/bench: a login was answered {answer.status}")

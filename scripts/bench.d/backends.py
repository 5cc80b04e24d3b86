"""What backends cost: publishing beside a WebSocket sender, and chat beside webhooks."""

import argparse
import base64
import contextlib
import multiprocessing
import secrets
import select
import shlex
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import compare
import document
import generator
import machine
from programs import Programs
from servers import Fleet, Running
from workloads import TEXT, WORKLOADS, Workload

# Messages on their way at a time: of one WebSocket sender, or one on each of so many kept connections.
WINDOWS = (1, 8)
# What `--only` chooses among.
PARTS = ("publishing", "webhooks")
# Webhooks are measured beside this.
TALK = WORKLOADS["trickle"]


def run(arguments: argparse.Namespace, programs: Programs) -> int:
    repetitions, seconds = arguments.repetitions or 5, arguments.seconds or 4
    with tempfile.TemporaryDirectory(prefix="propromo-bench-") as directory:
        fleet = Fleet(programs, Path(directory))
        measured = {"publishing": publishing, "webhooks": webhooks}
        parts = [measured[part](fleet, name, repetitions, seconds) for part in arguments.only for name in programs.chat]
    text = "\n".join(parts)
    print(text)
    if not arguments.partial and not arguments.also:
        command = shlex.join(["scripts/bench", *sys.argv[1:]])
        document.replace("backends", f"Made by `{command}` on {machine.describe()}.\n\n{text}")
        print(f"written to {document.PATH}")
    return 0


def publishing(fleet: Fleet, name: str, repetitions: int, seconds: float) -> str:
    key = secrets.token_hex(32)
    settings = {"API_KEYS": f"bench publish {key}", "PUBLISH_RATE": "0"}
    rows = []
    for window in WINDOWS:
        workload = Workload("one sender", clients=1, senders=1, window=window)
        sent, published = [], []
        for repetition in range(repetitions):
            steps = [
                lambda server: sent.append(by_websocket(fleet, server, workload, seconds)),
                lambda server: published.append(by_http(server, key, window, seconds)),
            ]
            for step in steps if repetition % 2 else reversed(steps):
                with fleet.start(name, rooms=1, tokens=1, settings=settings) as server:
                    step(server)
        ratio = statistics.median(b / a for a, b in zip(sent, published))
        rows.append([str(window), spread(sent, compare.big), spread(published, compare.big), f"{ratio:.2f}"])
        print(f"publishing, {window} at a time: {rows[-1][1:]}", file=sys.stderr)
    heads = ["messages on their way", "one WebSocket sender", "as many kept connections to `/api/v1`", "ratio"]
    return f"### Messages stored a second, by one program ({fleet.title(name)})\n\n{compare.table(heads, rows)}"


def by_websocket(fleet: Fleet, server: Running, workload: Workload, seconds: float) -> float:
    said = generator.run(fleet.programs.loadgen, server, workload.arguments(seconds))
    if said.faults:
        raise SystemExit(f"scripts/bench: {said.faults}")
    return said.figure("deliveries_per_s")


def by_http(server: Running, key: str, connections: int, seconds: float) -> float:
    """Publishes by each connection as soon as it has its answer, from the generator's core."""
    # The load generator runs there too.
    with machine.only_on([machine.GENERATOR_CORE]):
        port = urlsplit(server.url_template.replace("{", "").replace("}", "")).port
        body = b'{"text":"%s"}' % (b"x" * TEXT)
        request = (
            b"POST /api/v1/rooms/monitor:room0/messages HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (key.encode(), len(body), body)
        )
        with contextlib.ExitStack() as stack:
            kept = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]
            ready = stack.enter_context(select.epoll())
            by_number = {each.fileno(): each for each in kept}
            for each in kept:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(each.fileno(), select.EPOLLIN)
                each.sendall(request)
            warm, stored = time.monotonic() + max(seconds / 4, 0.5), 0
            begin = None
            while begin is None or time.monotonic() < begin + seconds:
                if begin is None and time.monotonic() > warm:
                    begin, stored = time.monotonic(), 0
                for number, _ in ready.poll(5):
                    answer = by_number[number].recv(65536)
                    if not answer.startswith(b"HTTP/1.1 201 "):
                        raise SystemExit(f"scripts/bench: not published: {answer[:200]!r}")
                    stored += 1
                    by_number[number].sendall(request)
            return stored / (time.monotonic() - begin)


def webhooks(fleet: Fleet, name: str, repetitions: int, seconds: float) -> str:
    without, beside, told, busy = [], [], 0, 0.0
    for repetition in range(repetitions):
        for hooked in (False, True) if repetition % 2 else (True, False):
            with receiver() if hooked else contextlib.nullcontext() as endpoint:
                settings = {} if endpoint is None else {
                    "WEBHOOK_URL": f"http://127.0.0.1:{endpoint.port}/", "WEBHOOK_ALLOW_PRIVATE": "true",
                    "WEBHOOK_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
                }
                with fleet.start(name, rooms=TALK.rooms, tokens=TALK.clients, settings=settings) as server:
                    said = generator.run(fleet.programs.loadgen, server, TALK.arguments(seconds))
                if said.faults:
                    raise SystemExit(f"scripts/bench: {said.faults}")
                (beside if hooked else without).append(said)
                if endpoint:
                    told, busy = told + endpoint.count.value, busy + endpoint.seconds()
    rows = []
    for title, path in (("median", "p50"), ("99th percentile", "p99"), ("99.9th percentile", "p99_9")):
        before = [each.figure("latency_us", path) for each in without]
        after = [each.figure("latency_us", path) for each in beside]
        ratio = statistics.median(b / a for a, b in zip(before, after))
        rows.append([title, spread(before, compare.millis), spread(after, compare.millis), f"{ratio:.2f}"])
        print(f"webhooks, {title}: {rows[-1][1:]}", file=sys.stderr)
    if not told:
        raise SystemExit("scripts/bench: no webhook was sent")
    # On a busy machine this tells more than latencies do.
    before, after = ([each.figure("server_cpu_us_per_delivery") for each in runs] for runs in (without, beside))
    ratio = statistics.median(b / a for a, b in zip(before, after))
    rows.append(["processor time of the server, µs a delivery", spread(before, compare.micros),
                 spread(after, compare.micros), f"{ratio:.2f}"])
    heads = ["latency of a delivery, ms", "without webhooks", "with", "ratio"]
    return (f"### Chat beside webhooks ({fleet.title(name)})\n\n{TALK.shape()}; the receiver answers each event at once, "
            f"heard {told:,} and took {busy / told * 1e6:.0f} µs of processor time for each.\n\n"
            f"{compare.table(heads, rows)}")


class Endpoint:
    """Where webhooks are sent: a process of its own, so that it takes no time of the generator's."""

    def __init__(self, listener: socket.socket):
        self.port = listener.getsockname()[1]
        self.count = multiprocessing.Value("Q", 0, lock=False)
        self.process = multiprocessing.Process(target=answer_all, args=(listener, self.count), daemon=True)
        self.process.start()

    def seconds(self) -> float:
        """The processor time that it has taken."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9


@contextlib.contextmanager
def receiver() -> Iterator[Endpoint]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        endpoint = Endpoint(listener)
    try:
        yield endpoint
    finally:
        endpoint.process.terminate()
        endpoint.process.join()


def answer_all(listener: socket.socket, count) -> None:
    """Answers each request 204. Requests have a `Content-Length` and come one after the other on a connection."""
    ready, pending = select.epoll(), {}
    ready.register(listener.fileno(), select.EPOLLIN)
    while True:
        for number, _ in ready.poll():
            if number == listener.fileno():
                peer, _ = listener.accept()
                pending[peer.fileno()] = (peer, b"")
                ready.register(peer.fileno(), select.EPOLLIN)
                continue
            peer, begun = pending[number]
            part = peer.recv(65536)
            if not part:
                ready.unregister(number)
                peer.close()
                del pending[number]
                continue
            begun += part
            head, found, body = begun.partition(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                           if line.startswith(b"content-length:")), 0)
            if found and len(body) >= length:
                count.value += 1
                begun = body[length:]
                peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            pending[number] = (peer, begun)


def spread(values: list[float], show) -> str:
    return f"{show(statistics.median(values))} ({show(min(values))}–{show(max(values))})"

"""How servers scale: one drawing a question."""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import document
import generator
import machine
import plot
from programs import Programs
from servers import Fleet
from workloads import TEXT, WORKLOADS, Workload


@dataclass(frozen=True)
class Step:
    """One point of a curve."""

    at: float
    workload: Workload
    size: int = TEXT
    history: int = 0
    cores: int | None = None


@dataclass(frozen=True)
class Curve:
    title: str
    x: str
    y: str
    steps: list[Step]
    figure: Callable[[generator.Result], float | None]
    servers: tuple[str, ...] = ("chat", "bun", "node-ws", "floor-lane")
    log_x: bool = True
    log_y: bool = True


def deliveries(result: generator.Result) -> float | None:
    return result.figure("deliveries_per_s")


def handshakes(result: generator.Result) -> float | None:
    return result.figure("handshakes_per_s")


def cost(result: generator.Result) -> float | None:
    return result.figure("server_cpu_us_per_delivery")


def memory(result: generator.Result) -> float | None:
    after = result.figure("server", "rss_after_kb")
    return None if after is None else after / 1024


def members(count: int) -> Workload:
    return replace(WORKLOADS["B"], clients=count)


def rooms(count: int) -> Workload:
    return Workload("rooms", clients=10_000, rooms=count, senders=max(count, 10), window=1)


BUSY = WORKLOADS["A"]
MEMBERS = [Step(n, members(n)) for n in (10, 30, 100, 300, 1000, 3000, 10_000)]
JOINS = replace(WORKLOADS["storm"], clients=2000)

CURVES = {
    "members": Curve(
        "Members of one room, 10 of them talking", "members", "deliveries a second",
        MEMBERS, deliveries),
    "cost": Curve(
        "What a delivery costs, by members of the room, 10 of them talking", "members", "processor time, µs",
        MEMBERS, cost),
    "rooms": Curve(
        "10,000 clients in so many rooms, one talker in each (10 at least)", "rooms", "deliveries a second",
        [Step(n, rooms(n)) for n in (1, 10, 100, 1000, 10_000)], deliveries),
    "size": Curve(
        "Size of a text, 100 members of which 10 talk", "bytes", "deliveries a second",
        [Step(n, BUSY, size=n) for n in (32, 128, 512, 2048, 8192, 16_384)], deliveries),
    "stored": Curve(
        "What a delivery costs, by messages that are stored already (A)", "messages stored (0 drawn at 1)",
        "processor time, µs", [Step(max(n, 1), BUSY, history=n) for n in (0, 1000, 10_000, 100_000, 1_000_000)],
        cost, servers=("chat",), log_y=False),
    "history": Curve(
        "Joining a room whose last 100 messages are replayed", "messages kept in the room (0 drawn at 1)",
        "joins a second", [Step(max(n, 1), JOINS, history=n) for n in (0, 100, 1000, 10_000, 100_000, 1_000_000)],
        handshakes, servers=("chat",), log_y=False),
    "connections": Curve(
        "Idle connections", "connections", "resident memory of the server, MiB",
        [Step(n, replace(WORKLOADS["idle"], clients=n)) for n in (1, 1000, 2000, 5000, 10_000, 15_000)], memory,
        log_x=False, log_y=False),
    "cores": Curve(
        "Busy room (A) on so many cores, one of them shared with the generator if it takes all",
        "cores that the server may use", "deliveries a second",
        [Step(n, BUSY, cores=n) for n in range(1, len(machine.CORES) + 1)], deliveries, log_x=False, log_y=False),
}

# The largest points need more than the default.
SETTINGS = {"MAX_CONNECTIONS": "16384", "HISTORY_MAX": "0"}


def run(arguments: argparse.Namespace, programs: Programs) -> int:
    seconds = arguments.seconds or 2
    document.DRAWINGS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="propromo-bench-") as directory:
        fleet, runs = Fleet(programs, Path(directory)), {}
        for key in arguments.only:
            curve = CURVES[key]
            wanted = [name for name in fleet.names if name in curve.servers and name in arguments.servers]
            wanted += [name for name in programs.chat if name not in wanted]
            lines = {name: plot.Line(fleet.title(name), []) for name in wanted}
            for step in curve.steps:
                for name in wanted:
                    if (value := measured(fleet, name, key, step, seconds, runs, arguments)) is not None:
                        lines[name].points.append((step.at, value))
            drawing = plot.chart(curve.title, curve.x, curve.y, list(lines.values()),
                                 log_x=curve.log_x, log_y=curve.log_y)
            (document.DRAWINGS / f"{key}.svg").write_text(drawing)
    if arguments.write or not arguments.partial:
        settings = " ".join(f"`{name}={value}`" for name, value in SETTINGS.items())
        pictures = "\n".join(f"![{curve.y} over {curve.x}](bench/{key}.svg)" for key, curve in CURVES.items()
                             if (document.DRAWINGS / f"{key}.svg").exists())
        document.replace("curves", f"{pictures}\n\nMade by `{shlex.join(['scripts/bench', *sys.argv[1:]])}` on {machine.describe()}; "
                                   f"as above, and {settings}. Each point is one run of {seconds:g} s.")
    return 0


def measured(fleet: Fleet, name: str, key: str, step: Step, seconds: float, runs: dict,
             arguments: argparse.Namespace) -> float | None:
    """The median of the repetitions; nothing if none could be completed. Drawings may share runs."""
    place = (name, step.workload, step.size, step.history, step.cores)
    if place not in runs:
        runs[place] = [once(fleet, name, key, step, seconds, arguments) for _ in range(arguments.repetitions or 1)]
    values = [CURVES[key].figure(result) for result in runs[place] if result.said.get("outcome") == "ok"]
    values = sorted(value for value in values if value is not None)
    value = values[len(values) // 2] if values else None
    faults = "; ".join(sorted({fault for result in runs[place] for fault in result.faults}))
    shown = "no figure" if value is None else plot.short(value)
    print(f"{key:11} {plot.short(step.at):>6} {fleet.title(name):14} {shown:>9}{faults and f'  ({faults})'}", file=sys.stderr)
    return value


def once(fleet: Fleet, name: str, key: str, step: Step, seconds: float,
         arguments: argparse.Namespace) -> generator.Result:
    cores = machine.CORES[: step.cores] if step.cores else machine.CORES
    with fleet.start(name, rooms=step.workload.rooms, tokens=step.workload.clients, cores=cores,
                     settings=SETTINGS, history=step.history) as server:
        result = generator.run(fleet.programs.loadgen, server, step.workload.arguments(seconds, step.size))
    if arguments.json:
        with open(arguments.json, "a") as out:
            out.write(json.dumps({"curve": key, "at": step.at, "server": name, "said": result.said}) + "\n")
    return result

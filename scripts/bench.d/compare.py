"""All servers side by side: interleaved repetitions, medians, ratios."""

import argparse
import json
import shlex
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import document
import generator
import machine
from generator import Result
from programs import Programs
from servers import CHAT_SETTINGS, Fleet
from workloads import TEXT, WORKLOADS, Workload

# Results by workload and server, in the order of the repetitions.
Results = dict[str, dict[str, list[Result]]]


@dataclass(frozen=True)
class Metric:
    title: str
    path: tuple[str, ...]
    workloads: tuple[str, ...]
    show: Callable[[float], str]


def big(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.0f}"


def millis(micros: float) -> str:
    return f"{micros / 1000:.2f}" if micros < 10_000 else f"{micros / 1000:.0f}"


def micros(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


# Where latency means something: in a loop that is closed by many it is only how long the queue is.
OPEN = ("E", "F", "trickle", "open", "steady")

METRICS = [
    Metric("Deliveries a second (more is better)", ("deliveries_per_s",), ("A", "B", "D", "small", "pairs"), big),
    Metric("Median of a delivery's latency, ms (less is better)", ("latency_us", "p50"), OPEN, millis),
    Metric("99th percentile of it, ms (less is better)", ("latency_us", "p99"), OPEN, millis),
    Metric("99.9th percentile of it, ms (less is better)", ("latency_us", "p99_9"), OPEN, millis),
    Metric("Processor time of the server, µs a delivery (less is better)", ("server_cpu_us_per_delivery",),
           ("A", "B", "D", "small", "pairs", *OPEN), micros),
    Metric("Handshakes a second (more is better)", ("handshakes_per_s",), ("storm",), big),
    Metric("The longest wait for the `101`, ms (less is better)", ("handshake_us", "max"), ("joins",), millis),
    Metric("The longest wait from it to the end of the history and of the connection, ms (less is better)",
           ("close_us", "max"), ("joins",), millis),
    Metric("Resident memory of the server, bytes a connection (less is better)",
           ("bytes_per_connection", "server_rss"), ("idle",), big),
    Metric("The same and the kernel's for both ends (less is better)",
           ("bytes_per_connection", "server_pss_and_kernel"), ("idle",), big),
    Metric("How busy the generator's core was, % (near 100 the generator is the limit)", ("generator_cpu_pct",),
           ("A", "B", "D", "small", "pairs", "storm"), lambda value: f"{value:.0f}"),
]

# This server is compared with these.
RIVALS = ["bun", "node-ws", "floor-lane", "floor-direct"]


def run(arguments: argparse.Namespace, programs: Programs) -> int:
    repetitions = arguments.repetitions or (1 if arguments.quick else 5)
    seconds = arguments.seconds or (2 if arguments.quick else 4)
    others = machine.busy()
    if others > 0.3:
        print(f"scripts/bench: other programs keep {others:.1f} cores busy; only the ratios mean something",
              file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="propromo-bench-") as directory:
        fleet = Fleet(programs, Path(directory))
        names = [name for name in fleet.names if name in arguments.servers or name in programs.chat]
        results: Results = defaultdict(lambda: defaultdict(list))
        for repetition in range(repetitions):
            for key in arguments.only:
                workload = WORKLOADS[key]
                if repetition >= workload.most_repetitions:
                    continue
                # Nobody always comes first.
                turn = repetition % len(names)
                for name in names[turn:] + names[:turn]:
                    results[key][name].append(measured(fleet, name, workload, seconds))
                    tell(repetition, key, fleet.title(name), results[key][name][-1])
                    keep(arguments.json, key, name, results[key][name][-1])
        text = report(fleet, names, results)
    print(text)
    if arguments.write or not arguments.partial:
        document.replace("measured", preface(repetitions, seconds) + text)
        print(f"written to {document.PATH}")
    return 0


def measured(fleet: Fleet, name: str, workload: Workload, seconds: float) -> Result:
    if workload.mode == "idle":
        machine.await_quiet_sockets()
    with fleet.start(name, rooms=workload.rooms, tokens=workload.clients, history=workload.history) as server:
        return generator.run(fleet.programs.loadgen, server, workload.arguments(seconds))


def tell(repetition: int, key: str, title: str, result: Result) -> None:
    metric = next(metric for metric in METRICS if key in metric.workloads)
    value = result.figure(*metric.path)
    shown = "no figure" if value is None else metric.show(value)
    faults = f"  ({'; '.join(result.faults)})" if result.faults else ""
    print(f"{repetition + 1}  {key:7} {title:14} {shown:>12}{faults}", file=sys.stderr)


def keep(path: str | None, key: str, name: str, result: Result) -> None:
    if path:
        with open(path, "a") as out:
            out.write(json.dumps({"workload": key, "server": name, "said": result.said}) + "\n")


def preface(repetitions: int, seconds: float) -> str:
    settings = ", ".join(f"`{name}={value}`" for name, value in CHAT_SETTINGS.items())
    command = shlex.join(["scripts/bench", *sys.argv[1:]])
    return (
        f"Made by `{command}` on {machine.describe()}: the median of {repetitions} interleaved repetitions of "
        f"{seconds:g} s, least and most in brackets; texts of {TEXT} bytes. The generator has core "
        f"{machine.GENERATOR_CORE} for itself as far as the servers leave it; they may use all cores.\n\n"
        f"propromo-chat runs with its defaults but {settings}: each handshake brings a single-use token of its own, "
        "membership is checked, each message is stored before it is shown. The others check and store nothing.\n\n"
    )


def report(fleet: Fleet, names: list[str], results: Results) -> str:
    rivals = [name for name in RIVALS if name in names]
    ours = list(fleet.programs.chat)
    ratios = [(mine, rival) for mine in ours for rival in [*rivals, *(other for other in ours if other != mine)]]
    ratios = ratios[: len(rivals)] if len(ours) == 1 else ratios
    parts, footnotes = [], []
    for metric in METRICS:
        keys = [key for key in metric.workloads if key in results]
        if not keys:
            continue
        heads = ["workload", *(fleet.title(name) for name in names)]
        heads += [f"{fleet.title(mine)} ÷ {fleet.title(rival)}" for mine, rival in ratios]
        rows = []
        for key in keys:
            row = [f"{key}: {WORKLOADS[key].title}" if len(key) == 1 else WORKLOADS[key].title]
            row += [cell(results[key][name], metric, footnotes) for name in names]
            row += [ratio(results[key][mine], results[key][rival], metric) for mine, rival in ratios]
            rows.append(row)
        parts.append(f"### {metric.title}\n\n{table(heads, rows)}")
    shapes = [[f"{key}: {w.title}" if len(key) == 1 else w.title, w.shape()]
              for key, w in WORKLOADS.items() if key in results]
    parts.append(f"### The workloads\n\n{table(['workload', 'shape'], shapes)}")
    if footnotes:
        parts.append("\n".join(f"[{number + 1}] {note}" for number, note in enumerate(footnotes)))
    return "\n".join(parts)


def cell(results: list[Result], metric: Metric, footnotes: list[str]) -> str:
    values = [value for result in results if (value := result.figure(*metric.path)) is not None]
    if not values:
        return "none"
    shown = metric.show(statistics.median(values))
    if len(values) > 1:
        shown += f" ({metric.show(min(values))}–{metric.show(max(values))})"
    for note in sorted({fault for result in results for fault in result.faults}):
        if note not in footnotes:
            footnotes.append(note)
        shown += f" [{footnotes.index(note) + 1}]"
    return shown


def ratio(mine: list[Result], rivals: list[Result], metric: Metric) -> str:
    """The median of the ratios within a repetition: what slows the machine down slows both."""
    pairs = [(a.figure(*metric.path), b.figure(*metric.path)) for a, b in zip(mine, rivals)]
    values = [a / b for a, b in pairs if a is not None and b]
    return f"{statistics.median(values):.2f}" if values else "none"


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

"""The machine that measures: what it is, which cores who may use."""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
# The generator stays on one core; servers may use all of them, that one too.
GENERATOR_CORE = CORES[-1]


def describe() -> str:
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    model = model.group(1).strip() if model else platform.machine()
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    memory = f"{int(memory.group(1)) / (1 << 20):.0f} GiB" if memory else "unknown memory"
    return f"{len(CORES)} cores of {model}, {memory}, Linux {platform.release()}, message log on {file_system()}"


def file_system() -> str:
    if not shutil.which("stat"):
        return "an unknown file system"
    kind = subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()], capture_output=True, text=True)
    return kind.stdout.strip() or "an unknown file system"


def on_cores(cores: list[int]):
    """For Popen's preexec_fn: the child stays on these cores."""
    return lambda: os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def only_on(cores: list[int]) -> Iterator[None]:
    """This process stays on these cores for a while."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


def busy() -> float:
    """How many cores other programs keep busy, over a second."""
    def sample() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return sum(fields[:8]), fields[3] + fields[4]

    (total, idle), _ = sample(), time.sleep(1)
    total_now, idle_now = sample()
    return (os.cpu_count() or 1) * (1 - (idle_now - idle) / max(total_now - total, 1))


def await_quiet_sockets(at_most: int = 200, seconds: float = 75) -> None:
    """Waits until the sockets of earlier runs have left TIME_WAIT: their memory would be counted."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        waiting = re.search(r"^TCP:.* tw (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
        if not waiting or int(waiting.group(1)) <= at_most:
            return
        time.sleep(1)

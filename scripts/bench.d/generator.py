"""One run of the load generator against one running server."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import machine
from servers import Running

# The generator ends by itself; this is for one that doesn't.
LIMIT = 400


@dataclass
class Result:
    said: dict

    @property
    def faults(self) -> list[str]:
        """Why the figures of this run don't stand for themselves."""
        said = self.said
        faults = list(said.get("notes", []))
        if said.get("outcome") != "ok":
            faults.append(f"not completed: {said.get('outcome')}")
        if said.get("failed"):
            faults.append(f"{said['failed']} connections failed")
        if said.get("lost"):
            faults.append(f"{said['lost_pct']} % of deliveries lost")
        if said.get("surplus"):
            faults.append(f"{said['surplus']} deliveries doubled")
        return faults

    def figure(self, *path: str) -> float | None:
        value = self.said
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value if isinstance(value, (int, float)) else None


def run(loadgen: Path, server: Running, arguments: list[str]) -> Result:
    command = [str(loadgen), *arguments, "--url-template", server.url_template, "--server-pid", str(server.pid)]
    if server.tokens:
        command += ["--tokens", str(server.tokens)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT,
                          preexec_fn=machine.on_cores([machine.GENERATOR_CORE]))
    try:
        return Result(json.loads(done.stdout))
    except json.JSONDecodeError:
        return Result({"outcome": f"exit {done.returncode}", "notes": [done.stderr.strip()[-300:]]})

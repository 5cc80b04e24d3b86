"""The programs that take part: found, copied out of the tree, built."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Missing(Exception):
    """Something that has to be there isn't; the text says what to do."""


@dataclass
class Programs:
    loadgen: Path
    floor: Path
    # Of this server: a path for each build that takes part.
    chat: dict[str, Path]
    # Of the peers that can run here: the command and where it runs.
    peers: dict[str, tuple[list[str], Path]] = field(default_factory=dict)

    @staticmethod
    def build(servers: list[str], also: dict[str, str]) -> "Programs":
        source = Path(os.environ.get("BENCH_DIR") or ROOT.parent / "shared" / "bench").resolve()
        if not (source / "loadgen" / "Cargo.toml").is_file():
            raise Missing(f"there is no load generator in {source}; set BENCH_DIR to the directory that holds "
                          "loadgen, floor and peers")
        cache = Path(os.environ.get("BENCH_CACHE") or default_cache())
        cache.mkdir(parents=True, exist_ok=True)
        target = cache / "target"
        for name in ("loadgen", "floor"):
            cargo(["--manifest-path", str(source / name / "Cargo.toml")], target)
        programs = Programs(target / "release/loadgen", target / "release/floor", {})
        if "chat" in servers:
            programs.chat["chat"] = this_server()
        for name, path in also.items():
            if not os.access(path, os.X_OK):
                raise Missing(f"--also {name}={path}: that is no program")
            programs.chat[name] = Path(path).resolve()
        for name, command in {"bun": ["node_modules/.bin/bun", "server.ts"], "node-ws": ["node", "server.js"]}.items():
            if name in servers:
                try:
                    programs.peers[name] = (command, peer(source / "peers" / name, cache / "peers" / name))
                except Missing as missing:
                    print(f"scripts/bench: without {name}: {missing}", file=sys.stderr)
        return programs


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "propromo-chat-bench"


def this_server() -> Path:
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    cargo(["--manifest-path", str(ROOT / "Cargo.toml"), "--bin", "propromo-chat"], target)
    return target / "release/propromo-chat"


def cargo(arguments: list[str], target: Path) -> None:
    if not shutil.which("cargo"):
        raise Missing("cargo is missing; install Rust (https://rustup.rs)")
    environment = os.environ | {"CARGO_TARGET_DIR": str(target)}
    built = subprocess.run(["cargo", "build", "--release", "--quiet", "--locked", *arguments], env=environment)
    if built.returncode != 0:
        raise Missing(f"cargo build {' '.join(arguments)} failed")


def peer(source: Path, copy: Path) -> Path:
    """The peer with its packages, outside the tree that it came from."""
    if not source.is_dir():
        raise Missing(f"there is no {source}")
    if not shutil.which("npm"):
        raise Missing("npm is missing; install Node.js")
    if source != copy.resolve():
        shutil.copytree(source, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    if not (copy / "node_modules").is_dir():
        # Bun's package fetches its program in an install script.
        installed = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=copy)
        if installed.returncode != 0:
            raise Missing(f"npm ci in {copy} failed")
    return copy

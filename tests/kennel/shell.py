"""The `kennel` command in a process of its own, with a home, runs and environment of its own."""

import json
import os
import random
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from kennel.servers import prefect, processes
from kennel.servers.localaws import LAST_URL
from kennel.servers.ports import is_free
from tasks.run.errors import RunBusy

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 300
GUARD_SECONDS = 120.0


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"not one line on stdout: {self.out!r}\n{self.err}"
        return dict(json.loads(lines[0]))


def exported(text: str) -> dict[str, str]:
    """Return the variables that `kennel up` printed."""
    lines = (line for line in text.splitlines() if line.startswith("export "))
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)


def prefer_own_prefect_port(home: Path) -> None:
    """Let the home's Prefect server take a port that tests beside this one would not take while it is dead."""
    processes.spawn(home, prefect.NAME, ["/bin/true"], environment={}, url=f"http://127.0.0.1:{own_port()}")


def own_port() -> int:
    """Return a free port that no server of a test prefers, and that the system gives to no client."""
    return next(port for port in random.sample(range(20_000, 30_000), 20) if is_free(port))


def prefer_own_port(home: Path) -> str:
    """Let the home's server take a port that tests beside this one do not prefer, of no client; return its URL."""
    file = home / LAST_URL
    file.parent.mkdir(parents=True)
    file.write_text(f"http://127.0.0.1:{own_port()}")
    return file.read_text()


def children_cpu_seconds() -> float:
    """Return the processor time of every command that has ended, which a busy machine does not stretch."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def open_to_others(*folders: Path) -> list[Path]:
    """Return the files and folders in which another user has any right, but what a test itself wrote there."""
    found = [path for folder in folders for path in (folder, *folder.rglob("*")) if path.name != "output.txt"]
    return [path for path in found if not path.is_symlink() and path.exists() and path.stat().st_mode & 0o077]


@dataclass(frozen=True)
class Terminal:
    """A shell's worth of environment; nothing of the caller's AWS or Prefect settings is in it."""

    home: Path
    runs: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the command."""
        foreign = ("AWS_", "KENNEL_", "PREFECT_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**kept, "KENNEL_HOME": str(self.home), "KENNEL_RUNS": str(self.runs), "COLUMNS": "200", **self.more}

    def kennel(self, *arguments: str, more: Mapping[str, str] | None = None, given: str = "") -> Finished:
        """Run `kennel` with arguments, and a text on standard input, to its end."""
        return self.program("-m", "kennel", *arguments, more=more, given=given)

    def program(
        self, *arguments: str, more: Mapping[str, str] | None = None, folder: Path = ROOT, given: str = ""
    ) -> Finished:
        """Run the tests' own Python with arguments to its end, in the checkout or in another folder."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={**self.environment, **(more or {})},
            input=given,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
            umask=0o022,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def processes(self) -> list[str]:
        """Return the command lines of everything that still runs for this home."""
        marks = {"KENNEL_OWNER": str(self.home.resolve()), "LOCALAWS_OWNER": str(self.home.resolve() / "localaws")}
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
                if any(environment.get(name) == value for name, value in marks.items()):
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found

    def take_down(self, *, more: Mapping[str, str] | None = None) -> None:
        """Remove everything and end this home's servers; what `down` refuses would leave them.

        The guard of a flow run that was killed works on the run until its instances have ended: `down` waits for it.
        """
        deadline = time.monotonic() + GUARD_SECONDS
        while (done := self.kennel("down", "--yes", more=more)).code == RunBusy.exit_code:
            assert time.monotonic() < deadline, done.err
            time.sleep(1.0)
        assert done.code == 0, done.err
        assert self.processes() == []


@contextmanager
def terminal_with_servers(folder: Path) -> Iterator[Terminal]:
    """Yield a terminal whose servers run; at the end all is taken down, and no process may be left."""
    terminal = Terminal(folder / "home", folder / "runs")
    assert terminal.kennel("up").code == 0
    yield terminal
    terminal.take_down()

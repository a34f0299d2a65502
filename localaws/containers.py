"""How users' programs are started: in containers, where the kernel of this machine has user namespaces.

A container (`programs/container.py`) is a view of the disk and a process table of its own, with which all that the
program started ends. Where the kernel refuses one of them, the user's program sees what this user sees, and localaws
says so once.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localaws.container_view import TMP, View, guard_proc
from localaws.handover import handed_over
from localaws.processes import Line, Process, ProcessTable
from localaws.programs import FOLDER
from localaws.programs.call_filter import call_filter

START = "import sys; sys.path.append(sys.argv[1]); import container; sys.exit(container.main())"  # compiled already
PROBE_SECONDS = 20.0
PROBE = "import os, sys; sys.exit('localaws could be read' if os.path.exists(sys.argv[1]) else 0)"


@dataclass(frozen=True)
class Program:
    """What is run. `folder`, where it begins, is one of its view's. `output`: an existing file that it prints to.

    `inherited`: descriptors of the server that it has too, by the same numbers; without one, it cannot listen. `port`:
    the only one that it can connect to by TCP, where the kernel can keep it from others (Linux 6.7); None: any.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    output: Path | None = None
    inherited: Sequence[int] = ()
    port: int | None = None


@dataclass(frozen=True)
class Refusals:
    """What the kernel of this machine refuses, in its words; None for what it grants."""

    view: str | None
    process_table: str | None


class Containers:
    """Starts programs in containers. The first use tries out what the kernel allows."""

    def __init__(self, processes: ProcessTable) -> None:
        self._processes = processes
        self._lock = threading.Lock()
        self._refusals: Refusals | None = None

    def refusal(self) -> str | None:
        """Return None if programs have containers, else what was refused."""
        return self.refusals().view

    def place(self, path: str, folder: Path) -> str:
        """Return where a program sees a folder that its view has at `path`."""
        return path if self.refusal() is None else str(folder)

    def spawn(self, program: Program, view: View, *, on_line: Line | None = None) -> Process:
        """Start a program in a container.

        Raises:
            OSError: no process can be made, or the program's folder does not exist.
            StopFailed: localaws shuts down.
        """
        return self._spawn(program, view, self.refusals(), on_line=on_line)

    def refusals(self) -> Refusals:
        """Return what the kernel refuses. Takes about 0.1 s the first time."""
        with self._lock:
            if self._refusals is None:
                self._refusals = self._try_all()
                _say(self._refusals)
            return self._refusals

    def _try_all(self) -> Refusals:
        whole = self._try(Refusals(None, None))
        view = whole and self._try(Refusals(None, whole))
        return Refusals(view, whole)

    def _spawn(self, program: Program, view: View, refusals: Refusals, *, on_line: Line | None) -> Process:
        has_view = refusals.view is None
        with _told(is_wanted=refusals.process_table is None) as (told, telling):
            config = {
                "plan": view.plan() if has_view else None,
                "guard": list(guard_proc()) if has_view else None,
                "folder": view.place_of(program.folder) if has_view else str(program.folder),
                "command": list(program.command),
                "variables": dict(program.environment),
                "output": str(program.output) if program.output else None,
                "inherited": list(program.inherited),
                "port": program.port,
                "filter": call_filter(nests=False, listens=bool(program.inherited)),
                "told": telling,
            }
            with handed_over(config) as (early, descriptors):
                return self._processes.spawn(
                    [sys.executable, "-I", "-S", "-c", START, str(FOLDER)],
                    name=program.name,
                    env=early,
                    cwd=program.folder,
                    on_line=on_line,
                    pass_fds=(*descriptors, *program.inherited, *(() if telling is None else (telling,))),
                    told=told,
                )

    def _try(self, refusals: Refusals) -> str | None:
        if sys.platform != "linux":
            return f"{sys.platform} has no namespaces"
        folder = Path(tempfile.mkdtemp(prefix="localaws-probe-"))
        lines: deque[str] = deque(maxlen=1)
        try:
            for name in ("root", "tmp"):
                (folder / name).mkdir()
            command = [sys.executable, "-I", "-S", "-c", PROBE, str(folder)]
            program = Program("container/probe", command, {}, folder / "tmp")
            view = View(folder / "root", {TMP: program.folder})  # as all have it
            probe = self._spawn(program, view, refusals, on_line=lines.append)
            status = probe.wait(PROBE_SECONDS)
            if status is None:
                probe.stop(0.0)
            return None if status == 0 else "".join(lines) or f"the probe ended with {status}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _told(*, is_wanted: bool) -> Iterator[tuple[int | None, int | None]]:
    """Yield the ends, to read and to write, of a pipe, if wanted; the process that is started keeps the first one."""
    if not is_wanted:
        yield None, None
        return
    reading, writing = os.pipe()
    try:
        yield reading, writing
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)


def _say(refusals: Refusals) -> None:
    programs = "functions and model servers"
    if refusals.view is not None:
        why = f"they cannot have containers here: {refusals.view}"
        print(f"localaws: {programs} can read this user's files; {why}", file=sys.stderr)
    elif refusals.process_table is not None:
        why = f"they cannot have a process table of their own here: {refusals.process_table}"
        print(f"localaws: {programs} can see this user's processes; {why}", file=sys.stderr)

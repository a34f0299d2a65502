"""How users' programs are started: in containers, where the kernel of this machine has user namespaces.

A container (`programs/container.py`) is a view of the disk and costs no process: the program that makes it becomes the
user's. Where the kernel refuses it, the user's program sees what this user sees, and localaws says so once.
"""

import marshal
import shutil
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localaws.container_view import TMP, View
from localaws.handover import handed_over
from localaws.processes import Line, Process, ProcessTable
from localaws.programs import FOLDER

PROGRAM = FOLDER / "container.py"
PROBE_SECONDS = 20.0
PROBE = "import os, sys; sys.exit('localaws could be read' if os.path.exists(sys.argv[1]) else 0)"


@dataclass(frozen=True)
class Program:
    """What is run. `folder`, where it begins, is one of its view's. `output`: an existing file that it prints to.

    `inherited`: descriptors of the server that it has too, by the same numbers.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    output: Path | None = None
    inherited: Sequence[int] = ()


class Containers:
    """Starts programs in containers. The first use tries out what the kernel allows."""

    def __init__(self, processes: ProcessTable) -> None:
        self._processes = processes
        self._lock = threading.Lock()
        self._is_known = False
        self._refusal: str | None = None

    def refusal(self) -> str | None:
        """Return None if programs have containers, else what was refused. Takes about 0.1 s the first time."""
        with self._lock:
            if not self._is_known:
                self._refusal, self._is_known = self._try(), True
                if self._refusal is not None:
                    why = f"they cannot have containers here: {self._refusal}"
                    print(f"localaws: functions and model servers can read this user's files; {why}", file=sys.stderr)
            return self._refusal

    def place(self, path: str, folder: Path) -> str:
        """Return where a program sees a folder that its view has at `path`."""
        return path if self.refusal() is None else str(folder)

    def spawn(self, program: Program, view: View, *, on_line: Line | None = None) -> Process:
        """Start a program in a container.

        Raises:
            OSError: no process can be made, or the program's folder does not exist.
            StopFailed: localaws shuts down.
        """
        return self._spawn(program, view if self.refusal() is None else None, on_line=on_line)

    def _spawn(self, program: Program, view: View | None, *, on_line: Line | None) -> Process:
        config = {
            "plan": view.plan() if view else None,
            "folder": view.place_of(program.folder) if view else str(program.folder),
            "command": list(program.command),
            "output": str(program.output) if program.output else None,
        }
        command = [sys.executable, "-I", "-S", str(PROGRAM), marshal.dumps(config).hex()]
        with handed_over(program.environment) as (early, descriptors):
            return self._processes.spawn(
                command,
                name=program.name,
                env=early,
                cwd=program.folder,
                on_line=on_line,
                pass_fds=(*descriptors, *program.inherited),
            )

    def _try(self) -> str | None:
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
            probe = self._spawn(program, view, on_line=lines.append)
            status = probe.wait(PROBE_SECONDS)
            if status is None:
                probe.stop(0.0)
            return None if status == 0 else "".join(lines) or f"the probe ended with {status}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

"""Sending signals to the command while a stage is held by an answer of AWS that does not come."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil

from tests.counting_proxy import Calls, Fault
from tests.kennel.shell import ROOT, Finished, Terminal
from tests.polling import wait_until

CODES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}


@contextlib.contextmanager
def started(terminal: Terminal, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start `kennel` with arguments; kill it at the end of the block if it still runs."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=terminal.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_stage(process: subprocess.Popen[str], stage: "Held") -> None:
    """Wait until the command waits for the answer that is held; fails with its output if it ends before."""
    wait_until(lambda: stage.met.is_set() or process.poll() is not None, stage.operation, seconds=200)
    assert process.poll() is None, process.communicate()


def send(process: subprocess.Popen[str], number: signal.Signals) -> Finished:
    """Send a signal and wait for the end, which has to come before the stage could end by itself."""
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return Finished(process.returncode, out, err)


class Held(Fault):
    """Carries the next call of an operation out, and keeps its answer back until the block ends."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.met, self.released = threading.Event(), threading.Event()
        self.change = self._hold

    def is_for(self, operation: str, body: bytes) -> bool:
        """Tell whether the call is the one to hold: its operation begins with the name, and it is no rehearsal."""
        return self.times > 0 and operation.startswith(self.operation) and b"DryRun=true" not in body

    def _hold(self, content: bytes) -> bytes:
        if b"<Error>" in content:
            self.times += 1  # such as a token whose instance was terminated: the next call is the one
            return content
        self.met.set()
        self.released.wait(300)
        return content


@contextlib.contextmanager
def held(calls: Calls, operation: str) -> Iterator[Held]:
    fault = Held(operation)
    calls.faults.append(fault)
    try:
        yield fault
    finally:
        calls.faults.remove(fault)
        fault.released.set()


def check(done: Finished, number: signal.Signals) -> None:
    assert done.code == CODES[number], done.err
    assert "kennel: interrupted" in done.err
    assert "Traceback" not in done.err
    assert (number.name in done.err) == (number != signal.SIGINT)


def generators_of(pid: int) -> list[psutil.Process]:
    """Return the processes of the load generator that a command started."""
    with contextlib.suppress(psutil.Error):
        return [each for each in psutil.Process(pid).children(recursive=True) if "locustfile" in str(each.cmdline())]
    return []

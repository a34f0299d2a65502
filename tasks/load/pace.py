"""Measures this machine's present speed, so that the demo can use lower rates on a slow machine.

For two seconds each processor does work like that of serving (parsing, hashing, compressing), beside everything else
that runs. The result is compared with a reference machine on which the demo's own numbers hold. All of the demo's
numbers scale with that pace: at half of it, rates are halved, the shortest request time doubles and the AWS clock runs
half as fast, so that a minute of AWS time holds as many requests.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from tasks.run.errors import WaitTimedOut
from tasks.run.machine import usable_processors

SECONDS = 2.0
START_SECONDS = 10.0
REFERENCE_UNITS = 5500.0
"""The demo's reference speed. Two idle processors of an Intel Xeon with AMX did 5,600 to 6,200 (n = 7, 2026-11-28)."""
STEPS = (1.0, 0.7, 0.5, 0.35, 0.25)
ENOUGH = 0.95
"""A machine that reaches this share of a step gets the step. With 0.85, a machine of 61 % got 70 % of the rates, at
which its own instances made each other wait (docs/decisions.md)."""
_WORK = """
import hashlib, json, sys, time, zlib
content = json.dumps([{"label": f"class-{n}", "score": n / 7} for n in range(200)]).encode()
begun = time.perf_counter()
units, end = 0, begun + float(sys.argv[1])
while time.perf_counter() < end:
    zlib.compress(json.dumps(json.loads(content)).encode(), 1)
    hashlib.sha256(content * 8).digest()
    units += 1
print(units / (time.perf_counter() - begun))
"""


@dataclass(frozen=True)
class Pace:
    """The measured speed: `units` of work a second on `processors` at once, and the `share` of the demo's numbers."""

    units: float
    processors: int
    share: float

    @property
    def text(self) -> str:
        """The measurement in one line."""
        return (
            f"{self.units:,.0f} units of work a second on {self.processors} processors, "
            f"{self.units / REFERENCE_UNITS:.0%} of the machine that the demo is made for"
        )


def measure_pace(seconds: float = SECONDS) -> Pace:
    """Compute on every processor for so many seconds and return the measured speed.

    Raises:
        WaitTimedOut: a process did not start or end in time.
    """
    processors = usable_processors()
    command = [sys.executable, "-I", "-S", "-c", _WORK, str(seconds)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processors)]
    try:
        units = sum(float(worker.communicate(timeout=seconds + START_SECONDS)[0]) for worker in workers)
    except (subprocess.TimeoutExpired, ValueError) as error:
        why = f"a process that computes for {seconds:g} s gave no result within {seconds + START_SECONDS:g} s"
        raise WaitTimedOut(
            "the machine's pace", "it could not be measured", why, "run the same command again"
        ) from error
    finally:
        for worker in workers:
            worker.kill()
    return Pace(units, processors, demo_share(units))


def demo_share(units: float) -> float:
    """Return the share of the demo's numbers for a machine of so many units a second: one of `STEPS`."""
    return next((step for step in STEPS if units / REFERENCE_UNITS >= ENOUGH * step), STEPS[-1])

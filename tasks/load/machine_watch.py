"""Monitors this machine during a load test: pressure, steal, other programs' processor time, scheduling delays.

The kernel's figures come from /proc on Linux; elsewhere only delays are measured. The embedded AWS reports its own
delays at `/_localaws/pulse`. The module only reads.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tasks.load.disturbance import Bounds, MachineSample
from tasks.run.machine import ask_embedded_aws, usable_processors
from tasks.run.settings import LOCAL_HEALTH_PATH, LOCAL_PULSE_PATH, Settings
from tasks.run.watch_thread import WatchThread

PERIOD_SECONDS = 0.5
NAP_SECONDS = 0.02
REST_SECONDS = 2.0
PULSE_SECONDS = 2.0
FULL_SHARE = 0.75
"""Above this share of busy processor time, programs take processor time from each other."""
_PRESSURES = {"cpu_pressure": "cpu", "memory_pressure": "memory", "io_pressure": "io"}


@dataclass
class MachineWatch(WatchThread):
    """Takes a sample every half second until its `with` block ends. `samples` are in the order of their end times."""

    thread_name = "machine watch"
    end_seconds = 10.0

    settings: Settings
    samples: list[MachineSample] = field(default_factory=list)

    def watch(self) -> None:
        """Sample this machine and the embedded AWS until the block is over, and both of them a last time then."""
        pulsed = self._take_pulse(time.time())  # the embedded AWS measures itself after the first request only
        kernel = KernelFigures(self.settings)
        while not self._over.is_set():
            late_ms = self._sleep_measuring_lateness(PERIOD_SECONDS)
            self.samples.append(
                MachineSample(time.time(), kernel.seconds(), {**kernel.read(), "watch_late_ms": late_ms})
            )
            if time.time() - pulsed >= PULSE_SECONDS:
                pulsed = self._take_pulse(pulsed)
        self._take_pulse(pulsed)

    def _sleep_measuring_lateness(self, seconds: float) -> float:
        """Sleep in short steps; return how many milliseconds too long the longest step was."""
        worst, end = 0.0, time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end and not self._over.is_set():
            time.sleep(NAP_SECONDS)
            worst = max(worst, time.perf_counter() - begun - NAP_SECONDS)
        return 1000 * worst

    def _take_pulse(self, since: float) -> float:
        """Add the embedded AWS's own samples since a Unix time; return the time from which to ask next."""
        now = time.time()
        samples = read_pulse(self.settings, since)
        self.samples.extend(samples)
        return now if samples else since


def watch_at_rest(settings: Settings, seconds: float = REST_SECONDS) -> Bounds:
    """Monitor the machine while kennel is idle, and return the bounds that follow from its noise."""
    return Bounds.from_rest(samples_at_rest(settings, seconds))


def samples_at_rest(
    settings: Settings, seconds: float = REST_SECONDS, sleep: Callable[[float], None] = time.sleep
) -> list[MachineSample]:
    """Return the samples of so many seconds in which kennel is idle."""
    with MachineWatch(settings) as watch:
        sleep(seconds)
    return watch.samples


def read_pulse(settings: Settings, since: float) -> list[MachineSample]:
    """Return the delays of the embedded AWS and its model servers since a Unix time; an empty list on real AWS."""
    answer = ask_embedded_aws(settings, f"{LOCAL_PULSE_PATH}?since={since:.3f}")
    rows = answer.get("buckets", ()) if isinstance(answer, dict) else ()
    return [sample for row in rows if (sample := _pulse_sample(row)).values]


def _pulse_sample(row: Mapping[str, float | None]) -> MachineSample:
    named = {"loop_late_ms": row.get("loop_lag_ms"), "instance_late_ms": row.get("instance_lag_ms")}
    at = row["at"]
    assert at is not None, "each bucket has a time"
    return MachineSample(at + 0.25, 0.25, {name: value for name, value in named.items() if value is not None})


class KernelFigures:
    """Reads shares of the time since the last reading from /proc. A figure that this kernel lacks is left out."""

    def __init__(self, settings: Settings) -> None:
        """Start the first interval."""
        self._family = OwnProcesses(own_process_marks(settings))
        self._began = time.perf_counter()
        self._before = self._totals()

    def seconds(self) -> float:
        """Return the length of the current interval so far."""
        return time.perf_counter() - self._began

    def read(self) -> dict[str, float]:
        """Return the figures of the current interval and start the next one."""
        length, now = self.seconds(), self._totals()
        self._began = time.perf_counter()
        before, self._before = self._before, now
        spent = {name: now[name] - before[name] for name in now if name in before}
        own = spent.pop("own_cpu", 0.0)
        shares = {name: value / length for name, value in spent.items()}
        if "busy" in shares:
            busy = shares.pop("busy")
            others = busy - own / length / usable_processors()
            # With idle processors left, other programs take nothing from kennel.
            shares["other_cpu"] = others if busy > FULL_SHARE else 0.0
        return {name: min(1.0, max(0.0, share)) for name, share in shares.items()}

    def _totals(self) -> dict[str, float]:
        """Return seconds since boot: waiting, busy and stolen (mean of the processors), and kennel's own."""
        found = {name: total for name, kind in _PRESSURES.items() if (total := _pressure_seconds(kind)) is not None}
        with contextlib.suppress(OSError, ValueError, IndexError):
            busy, stolen = _processor_seconds()
            found |= {"busy": busy, "steal": stolen, "own_cpu": self._family.cpu_seconds()}
        return found


def own_process_marks(settings: Settings) -> tuple[bytes, ...]:
    """Return the environment entries that mark this kennel's own processes. Those of another home count as others'.

    `kennel.servers.processes` sets `KENNEL_OWNER` for all processes that it starts, the embedded AWS sets
    `LOCALAWS_OWNER`, and `tasks.load.locust_process` sets the plan's path for the load generator.
    """
    home = settings.home.resolve()
    owner = os.environ.get("KENNEL_OWNER", str(home))
    whole = (f"KENNEL_OWNER={owner}", f"LOCALAWS_OWNER={embedded_aws_home(settings) or home / 'localaws'}")
    return (*(f"\0{mark}\0".encode() for mark in whole), f"\0KENNEL_LOADTEST_PLAN={settings.runs.resolve()}/".encode())


def embedded_aws_home(settings: Settings) -> str | None:
    """Return the home folder of the running embedded AWS, or None without one."""
    answer = ask_embedded_aws(settings, LOCAL_HEALTH_PATH)
    return str(answer["home"]) if isinstance(answer, dict) and "home" in answer else None


class OwnProcesses:
    """Measures the processor time of kennel, the embedded AWS and the load generator, found by environment marks."""

    def __init__(self, marks: tuple[bytes, ...]) -> None:
        """Start without any known process."""
        self._marks = marks
        self._is_own: dict[int, bool] = {}
        self._last: dict[int, float] = {}
        self._ended = 0.0

    def cpu_seconds(self) -> float:
        """Return the seconds that all of them have used. Ended processes count with their last known value."""
        pids = set(psutil.pids())
        self._is_own = {pid: self._is_own.get(pid) or _carries_mark(pid, self._marks) for pid in pids}
        now = {pid: used for pid, own in self._is_own.items() if own and (used := _used(pid)) is not None}
        self._ended += sum(used for pid, used in self._last.items() if pid not in now)
        self._last = now
        return self._ended + sum(now.values())


def _carries_mark(pid: int, marks: tuple[bytes, ...]) -> bool:
    if pid == os.getpid():
        return True
    try:
        environment = b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return any(mark in environment for mark in marks)


def _used(pid: int) -> float | None:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def _pressure_seconds(kind: str) -> float | None:
    """Return the seconds in which at least one task waited, from Linux's pressure stall information (since 4.20)."""
    try:
        first = Path(f"/proc/pressure/{kind}").read_text().splitlines()[0]
        return int(first.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, IndexError):
        return None


def _processor_seconds() -> tuple[float, float]:
    """Return (busy, stolen) seconds, the mean of the processors that this process may use.

    Source of the columns: proc_stat(5): user nice system idle iowait irq softirq steal.
    """
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(usable_processors()))
    busy, stolen = 0.0, 0.0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu" and int(name[3:]) in usable:
            user, nice, system, _, _, irq, softirq, steal = (int(tick) for tick in ticks[:8])
            busy, stolen = busy + user + nice + system + irq + softirq, stolen + steal
    tick = os.sysconf("SC_CLK_TCK") * len(usable)
    return busy / tick, stolen / tick

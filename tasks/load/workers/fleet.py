"""The EC2 instances of one load test, from their launch to their end; every way out terminates them.

Instances are launched, reached and guarded as those of a training (tasks/ec2): a pinned host key, a security group that
only the caller passes, a ledger row before each launch, a dead-man's switch that heartbeats postpone. No port is opened
for the load test: its master listens on this machine's loopback, and workers reach it through a reverse tunnel.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tasks.account.encryption import encryption_of
from tasks.account.network import ec2_network
from tasks.account.role_policies import load_role
from tasks.ec2.access import ensure_access
from tasks.ec2.launch import launch_all, refuse_other_plans
from tasks.ec2.plan import InstancePlan, dead_man_command, dead_man_minutes, plan_instance
from tasks.ec2.prices import InstanceCandidates, cost_usd
from tasks.ec2.profile import ensure_instance_profile
from tasks.ec2.run import HEARTBEAT_SECONDS
from tasks.ec2.state import instance_facts, login
from tasks.ec2.terminate import end_instances_at_exit
from tasks.load.report import RETRY, STAGE
from tasks.load.workers.bundle import make_bundle
from tasks.load.workers.clock import MAX_ERROR_SECONDS, ClockReading
from tasks.load.workers.estimate import LOGIN_SECONDS, REST_SECONDS
from tasks.load.workers.machine import Machine, Session
from tasks.load.workers.record import LoadWorkers
from tasks.run.at_once import EndedWaits, at_once
from tasks.run.errors import Inconclusive, RemoteFailed, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.options import MOST_INSTANCES, MOST_WORKERS, Network
from tasks.run.records import EndpointRef, FunctionRef, InstanceRef
from tasks.run.waiting import Waiting, say
from tasks.ssh.tunnel import reverse_tunnel
from tasks.ssh.wait import wait_for_ssh

END_SECONDS = 15.0
"""The time that workers have to end after the master has told them to."""


class Fleet:
    """Machines that are ready; a `tasks.load.remote_workers.RemoteWorkers`."""

    def __init__(self, run: Run, machines: Sequence[Machine], processes: int) -> None:
        """Keep the machines, each of which runs `processes` Locust processes."""
        self._run, self._machines, self._processes = run, list(machines), processes
        self._faults: list[str] = []
        self._voids: list[str] = []

    @property
    def generators(self) -> int:
        """The number of Locust processes on all machines together."""
        return len(self._machines) * self._processes

    @property
    def label(self) -> str:
        """The machines and how far their clocks may differ, in words."""
        types = ", ".join(sorted({machine.ref.instance_type for machine in self._machines}))
        error = max(machine.row()["clock_error_ms"] for machine in self._machines)
        return f"{len(self._machines)} × {types} on EC2, clocks known to {error:.1f} ms"

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """One row for each machine, for `loadtest.json`."""
        return [machine.row() for machine in self._machines]

    @property
    def faults(self) -> Sequence[str]:
        """What went wrong with a machine or its workers."""
        return tuple(self._faults)

    @property
    def voids(self) -> Sequence[str]:
        """What makes the run void though all generators sent their results: a clock that moved."""
        return tuple(self._voids)

    @contextmanager
    def joined(self, plan: Mapping[str, Any], port: int) -> Iterator[None]:
        """Have the workers send the requests of `plan` for the master at a port of this machine's loopback.

        Raises:
            Inconclusive: a machine's clock cannot be compared with this one's.
            RemoteFailed: something went wrong on a machine or on the way to it.
            WaitTimedOut: a machine was not ready in time.
        """
        self._faults, self._voids = [], []
        bundle = make_bundle(plan)
        self._on_all(lambda machine: machine.receive(bundle))
        self._read_clocks()
        seconds = sum(stage["seconds"] for stage in plan["stages"]) + REST_SECONDS
        with ExitStack() as tunnels:
            sessions = [
                self._session(machine, tunnels.enter_context(reverse_tunnel(machine.remote, port)), seconds)
                for machine in self._machines
            ]
            try:
                yield
            finally:
                self._end(sessions)

    def _on_all(self, work: Callable[[Machine], Any]) -> list[Any]:
        return at_once(self._machines, work, end_others=lambda: _hang_up(self._machines))

    def _session(self, machine: Machine, port: int, seconds: float) -> Session:
        log = self._run.folder / STAGE / f"worker-{machine.number}.log"
        session = Session(machine, port, self._processes, log, deadline_seconds=seconds)
        session.start()
        return session

    def _read_clocks(self) -> None:
        for machine, reading in zip(self._machines, self._on_all(Machine.read_clock), strict=True):
            machine.before, machine.after = reading, None
            say(f"{machine.label}: its clock is {_ahead(reading)}")
            if reading.error_seconds > MAX_ERROR_SECONDS:
                what = f"the clock of {machine.label} is {_ahead(reading)}"
                why = f"an error above {1000 * MAX_ERROR_SECONDS:.0f} ms would blur the figures by seconds"
                raise Inconclusive(STAGE, what, why, RETRY)

    def _end(self, sessions: Sequence[Session]) -> None:
        """Wait for the workers, note what went wrong with them, and read the clocks again."""
        deadline = time.monotonic() + END_SECONDS
        for session in sessions:
            session.join(max(0.0, deadline - time.monotonic()))
            fault = session.fault()
            self._faults += [fault] if fault else []
            if not fault:
                self._check_clock(session.machine)

    def _check_clock(self, machine: Machine) -> None:
        try:
            machine.after = machine.read_clock()
        except (RemoteFailed, WaitTimedOut) as error:
            self._voids.append(f"{machine.label}: its clock could not be read after the test: {error.why}")
            return
        assert machine.before is not None, "it is read before the workers begin"
        moved = machine.after.moved_since(machine.before)
        if moved > MAX_ERROR_SECONDS:
            self._voids.append(f"{machine.label}: its clock moved by {1000 * moved:.0f} ms during the test")


@contextmanager
def load_fleet(
    run: Run,
    target: EndpointRef | FunctionRef,
    candidates: InstanceCandidates,
    *,
    bucket: str,
    count: int,
    processes: int,
) -> Iterator[Fleet]:
    """Launch `count` instances that may invoke the target, and yield them ready; terminate them at the end.

    Instances of an earlier command of this kind are adopted; the volumes are encrypted like the objects of `bucket`.

    Raises:
        LimitReached: EC2 has no instance of any candidate type.
        OwnershipRefused: the run has instances of another plan, such as those of a training.
        RemoteFailed: something went wrong on an instance or on the way to it.
        WaitTimedOut: an instance was not ready in time.
        AwsFailed: AWS refused.
    """
    plans = _plans(run, target, candidates, bucket=bucket, count=count)
    refuse_other_plans(run.aws, plans, numbers=range(MOST_INSTANCES + 1, MOST_INSTANCES + MOST_WORKERS + 1))
    begun, refs = time.perf_counter(), list[InstanceRef]()
    try:
        launched = launch_all(run, plans, note=refs.append)
        with ExitStack() as connections:
            waits = EndedWaits()
            machines = at_once(
                launched, lambda ref: _connect(run, ref, connections, waits.waiting), end_others=waits.end
            )
            connections.enter_context(_heartbeats(run, machines))
            at_once(machines, Machine.install, end_others=lambda: _hang_up(machines))
            say(f"load test: {count} workers are ready after {time.perf_counter() - begun:.0f} s")
            yield Fleet(run, machines, processes)
    finally:
        try:
            end_instances_at_exit(run)
        finally:
            _keep_costs(run, refs, processes, time.perf_counter() - begun)


def _plans(
    run: Run, target: EndpointRef | FunctionRef, candidates: InstanceCandidates, *, bucket: str, count: int
) -> list[InstancePlan]:
    _ = run.ledger  # refuses a run of another account before anything is changed there
    network = ec2_network(run.aws, Network(), [each.name for each in candidates.types])
    access = ensure_access(run, network)
    profile = ensure_instance_profile(run, load_role(run.id, target))
    key = encryption_of(run.aws, bucket).key_arn
    plans = [
        plan_instance(
            run,
            access=access,
            network=network,
            volume_key=key,
            profile=profile,
            candidates=candidates,
            spot=False,
            number=number,
        )
        for number in range(MOST_INSTANCES + 1, MOST_INSTANCES + count + 1)
    ]
    say(plans[0].image.about)
    return plans


def _connect(run: Run, ref: InstanceRef, connections: ExitStack, waiting: Waiting) -> Machine:
    facts = lambda: instance_facts(run.aws, ref)  # noqa: E731
    remote = wait_for_ssh(login(ref), facts, deadline_seconds=LOGIN_SECONDS, waiting=waiting)
    connections.enter_context(remote)
    machine = Machine(run.aws, ref, remote)
    say(f"{machine.label}: connected, a {ref.instance_type} at {ref.address}, with its pinned host key")
    return machine


def _hang_up(machines: Sequence[Machine]) -> None:
    """Close the connections, by which the commands of other threads there end."""
    for machine in machines:
        machine.remote.close()


@contextmanager
def _heartbeats(run: Run, machines: Sequence[Machine]) -> Iterator[None]:
    """Postpone the machines' dead-man's switches until the block ends, in a thread."""
    command, done = dead_man_command(dead_man_minutes(run.settings)), threading.Event()

    def beat() -> None:
        while True:
            for machine in machines:
                try:
                    machine.remote.run(command, check=False)
                except (RemoteFailed, WaitTimedOut):
                    continue  # its workers' connection is lost too, and the test says so
            if done.wait(HEARTBEAT_SECONDS):
                return

    thread = threading.Thread(target=beat, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(END_SECONDS)


def _keep_costs(run: Run, refs: Sequence[InstanceRef], processes: int, seconds: float) -> None:
    if not refs:
        return
    before = run.find(LoadWorkers)
    costs = [cost_usd(ref.usd_per_hour, seconds) for ref in refs]
    ids, billable = tuple(ref.instance_id for ref in refs), len(refs) * seconds
    price = _sum(costs)
    shown = "at an unknown price" if price is None else f"cost {price:.4f} USD"
    say(f"load test: {len(refs)} × {refs[0].instance_type} for {seconds:.0f} s {shown}")
    if before is not None:
        billable, price = billable + before.billable_seconds, _sum([price, before.cost_usd])
    run.keep(LoadWorkers(ids, refs[0].instance_type, processes, billable, price, refs[0].prices))


def _sum(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _ahead(reading: ClockReading) -> str:
    ahead, error = 1000 * reading.ahead_seconds, 1000 * reading.error_seconds
    return f"{abs(ahead):.1f} ms {'ahead of' if ahead >= 0 else 'behind'} ours, ± {error:.1f} ms"

"""One training on EC2 from the first launch to the last termination, with every way out leading past `terminate`.

An attempt is a gang of instances that trains one model. A gang that EC2 takes back leaves its checkpoints in S3 and the
next attempt goes on from them, after two such on the on-demand market. A process that was killed finds its instances
and their running training again. `--keep-on-failure` is the one case in which instances stay, and then not for ever.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.account.objects import object_exists
from tasks.account.roles import instance_role, run_prefix
from tasks.ec2.access import ensure_access
from tasks.ec2.job import RemoteJob, instance_specs
from tasks.ec2.launch import KIND, LOST_SECONDS, launch, refuse_other_plans, terminate
from tasks.ec2.plan import InstancePlan, dead_man_command, dead_man_minutes, plan_instance
from tasks.ec2.prices import InstanceCandidates, cost_usd, with_current_prices
from tasks.ec2.profile import ensure_instance_profile
from tasks.ec2.state import POLL_SECONDS, VISIBLE_SECONDS, instance_facts, instances_of, login, why_ended
from tasks.ec2.training import Outcome, Worker, collect, follow, ship, start
from tasks.model.archive import METRIC_NAMES, measured_metrics, read_meta, verify_meta
from tasks.run.errors import KennelError, RemoteFailed, StageFailed, WaitTimedOut, aws_boundary
from tasks.run.handle import Run
from tasks.run.ledger import live_rows
from tasks.run.progress import show_progress
from tasks.run.records import InstanceModel, InstanceRef
from tasks.run.settings import Settings
from tasks.run.waiting import say
from tasks.ssh.remote import Remote
from tasks.ssh.wait import wait_for_ssh

STAGE = "train_ec2"
MAX_ATTEMPTS = 5
SPOT_ATTEMPTS = 2
CONNECT_SECONDS = 300.0
HEARTBEAT_SECONDS = 15.0  # often, for it costs little, and an emulated minute may be short
AROUND_SECONDS = 1800.0  # to install, fetch, pack and store checkpoints, beside the training's own limit


@dataclass(frozen=True)
class InstanceWish:
    """What the user wants of the machines, apart from the training; `keep_minutes` 0 keeps nothing."""

    candidates: InstanceCandidates
    spot: bool
    keep_minutes: int


@dataclass
class _Told:
    """What the attempts came to so far."""

    begun: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    interruptions: int = 0
    billable_seconds: float = 0.0
    cost_usd: float | None = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 3)

    def bill(self, ref: InstanceRef, seconds: float) -> None:
        self.billable_seconds += max(60.0, seconds)
        cost = cost_usd(ref.usd_per_hour, seconds)
        self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost


def adopt_model(run: Run, job: RemoteJob) -> InstanceModel | None:
    """Return the record of a model that was made from the same plan before and is still in S3."""
    kept = run.find(InstanceModel)
    if kept is None or kept.spec_digest != job.spec_digest or not object_exists(run.aws, kept.model_uri):
        return None
    return kept


def adopt_or_train(run: Run, job: RemoteJob, wish: InstanceWish) -> InstanceModel:
    """Adopt the model that an earlier command made, and end what instances it left; else train it.

    Raises:
        As `end_instances` and `train_on_instances`.
    """
    kept = adopt_model(run, job)
    if kept is None:
        return train_on_instances(run, job, wish)
    say(f"EC2 training {job.name}: adopted, its model is at {kept.model_uri}")
    say(f"  trained on {kept.instance_count} × {kept.instance_type}; on another machine it would be the same")
    end_instances(run)
    return kept


def end_instances(run: Run) -> tuple[str, ...]:
    """Terminate whatever instances of a run have not ended; return their ids. Without any, nothing is changed.

    One whose launch was cut short may be there and not be shown yet: it is looked for during 10 s.

    Raises:
        TeardownIncomplete: some could not be terminated.
        AwsFailed: EC2 refused to list them.
    """
    alive = _alive(run)
    if alive:
        say(f"terminating {', '.join(alive)}")
        terminate(run, alive)
    return alive


def _alive(run: Run) -> tuple[str, ...]:
    rows = live_rows(run.folder)
    cut = {
        row.name for row in rows if (row.kind, row.state) == (KIND, "intended") and row.age_seconds < VISIBLE_SECONDS
    }
    begun = time.monotonic()
    while True:
        with aws_boundary(f"instances of run {run.id}"):
            found = instances_of(run.aws, run.id)
        if not cut - {item.get("ClientToken") for item in found} or time.monotonic() - begun > LOST_SECONDS:
            return tuple(str(item["InstanceId"]) for item in found)
        time.sleep(POLL_SECONDS)


def train_on_instances(run: Run, job: RemoteJob, wish: InstanceWish) -> InstanceModel:
    """Train the job on instances of its own and return the model's record; the instances are terminated.

    Raises:
        LimitReached: no instance could be had. StageFailed, RemoteFailed: the training or an instance failed.
        WaitTimedOut: an instance did not come up, or the training did not end in time.
        AwsFailed: AWS refused.
    """
    told, candidates = _Told(), with_current_prices(run.aws, wish.candidates)
    access = ensure_access(run, instance_count=job.instance_count)
    profile = ensure_instance_profile(run, instance_role(job.run_id, job.dataset, job.weights))
    if job.spot:  # the instances will write checkpoints there
        run.ledger.record("s3-prefix", _prefix(job), "intended")
    for _ in range(MAX_ATTEMPTS):
        plans = [
            plan_instance(
                run,
                access=access,
                profile=profile,
                candidates=candidates,
                spot=wish.spot and told.interruptions < SPOT_ATTEMPTS,
                number=number,
            )
            for number in range(1, job.instance_count + 1)
        ]
        model = _attempt(run, job, plans, wish, told)
        if model is not None:
            return model
    why = f"it was interrupted {told.interruptions} times; its checkpoints are kept"
    raise StageFailed(f"training {job.name}", f"{MAX_ATTEMPTS} attempts", why, "kennel train-ec2, without --spot")


# --- one attempt ------------------------------------------------------------------------------------------------------


def _attempt(
    run: Run, job: RemoteJob, plans: Sequence[InstancePlan], wish: InstanceWish, told: _Told
) -> InstanceModel | None:
    """Run one gang to its end; None when it was interrupted and another may go on."""
    with _gang(run, plans, wish, told) as refs, ExitStack() as connections:
        with told.phase("connect"):
            workers = [_connect(run, ref, job, connections) for ref in refs]
        with told.phase("ship"):
            specs = instance_specs(run.aws, job, [ref.private_address for ref in refs])
            for worker, spec in zip(workers, specs, strict=True):
                ship(worker, job, spec)
        started = [start(worker, job) for worker in workers]
        say(f"training {job.name}: {'started' if all(started) else 'taken up again'} on {len(refs)} instances")
        outcome = _follow(run.settings, job, workers)
        if outcome.state == "interrupted":
            told.interruptions += 1
            if not job.spot:
                what = "it was stopped from outside kennel"
                raise StageFailed(f"training {job.name}", what, outcome.why, "run the same command again")
            say(f"training {job.name}: interrupted ({outcome.why}); it goes on elsewhere from its checkpoints")
            return None
        told.seconds |= outcome.statuses[0]["seconds"]
        archive = run.folder / "TrainedModels" / "model.tar.gz"
        renewal = dead_man_command(dead_man_minutes(run.settings))
        workers[0].remote.run(renewal, check=False)  # a slow link takes its time
        with told.phase("collect"):
            sha256 = collect(workers[0], job, archive)
        metrics = _judged(job, archive, workers)
        with told.phase("store"):
            _store(run, job, archive)
        logs = tuple(str(worker.log) for worker in workers)
        command = tuple(outcome.statuses[0]["command"])
    return _record(job, refs, told, metrics, archive, sha256, logs, command)


@contextmanager
def _gang(run: Run, plans: Sequence[InstancePlan], wish: InstanceWish, told: _Told) -> Iterator[list[InstanceRef]]:
    """Launch all instances at once, and terminate all that the run has when the block ends, however it ends.

    Instances of another plan are refused before that, and stay: somebody's training may be on them.
    """
    refuse_other_plans(run.aws, plans)
    kept = False
    refs: list[InstanceRef] = []
    begun = time.perf_counter()
    first = plans[0].offers[0]
    say(f"EC2: launching {len(plans)} × {first.label} ({plans[0].reason})")
    try:
        with told.phase("launch"), ThreadPoolExecutor(len(plans)) as pool:
            refs += pool.map(lambda plan: launch(run, plan), plans)
        told.refused += [each for ref in refs for each in ref.refused if each not in told.refused]
        yield refs
    except (StageFailed, RemoteFailed, WaitTimedOut) as error:
        kept = bool(wish.keep_minutes and refs)
        if kept:
            _keep(run, refs, wish.keep_minutes, error)
            error.next_command = f"{login(refs[0]).command_line()}\n        and then: kennel down {run.id} --yes"
        raise
    finally:
        if not kept:
            with told.phase("terminate"):
                _end(run)
            for ref in refs:
                told.bill(ref, time.perf_counter() - begun)


def _end(run: Run) -> None:
    """Terminate the gang; if that fails after something else did, both are told and the first is what counts."""
    failed = sys.exception() is not None
    try:
        end_instances(run)
    except KennelError as error:
        if not failed:
            raise
        say(f"WARNING: {error}")


def _connect(run: Run, ref: InstanceRef, job: RemoteJob, connections: ExitStack) -> Worker:
    remote = connections.enter_context(
        wait_for_ssh(login(ref), lambda: instance_facts(run.aws, ref), deadline_seconds=CONNECT_SECONDS)
    )
    say(
        f"instance-{ref.number}: {ref.instance_id}, {ref.instance_type}, connected at {ref.address} with its pinned key"
    )
    log = run.folder / "ec2" / f"{ref.instance_id}-{job.name}.log"
    return Worker(remote, f"instance-{ref.number}", log, lambda: why_ended(run.aws, ref.instance_id))


def _follow(settings: Settings, job: RemoteJob, workers: Sequence[Worker]) -> Outcome:
    return follow(
        workers,
        job,
        heartbeat=dead_man_command(dead_man_minutes(settings)),
        heartbeat_seconds=HEARTBEAT_SECONDS,
        deadline_seconds=job.max_runtime_seconds + AROUND_SECONDS,
    )


def _keep(run: Run, refs: Sequence[InstanceRef], minutes: int, error: KennelError) -> None:
    """Leave the instances for `minutes` and say how to look at them."""
    say(f"{error.where} failed; as asked, its instances are kept for {minutes} minutes, then they end by themselves:")
    for ref in refs:
        say(f"  {login(ref).command_line()}")
        try:
            with Remote(login(ref)) as remote:
                remote.run(dead_man_command(dead_man_minutes(run.settings, minutes)))
        except (RemoteFailed, WaitTimedOut) as problem:
            say(f"  {ref.instance_id} could not be told so ({problem.what}): it ends when its dead-man's switch does")
    say(f"  end them now: kennel down {run.id} --yes")


# --- the model --------------------------------------------------------------------------------------------------------


def _judged(job: RemoteJob, archive: Path, workers: Sequence[Worker]) -> dict[str, float]:
    """Return the model's metrics, held against the data and against what the training printed."""
    meta = read_meta(archive, str(archive))
    verify_meta(job.dataset, meta, _printed(worker.log for worker in workers))
    return measured_metrics(meta)


def _printed(logs: Iterator[Path]) -> dict[str, float]:
    """Return the last value that any log has of each metric, printed as `name=value`."""
    text = "\n".join(log.read_text(errors="replace") for log in logs)
    found = {name: re.findall(rf"(?:^|\s){name}=([-+0-9.eE]+)", text) for name in METRIC_NAMES}
    return {name: float(values[-1]) for name, values in found.items() if values}


def _prefix(job: RemoteJob) -> str:
    return f"s3://{job.dataset.bucket}/{run_prefix(job.run_id)}/"


def _store(run: Run, job: RemoteJob, archive: Path) -> None:
    bucket, extra = job.dataset.bucket, {"ChecksumAlgorithm": "SHA256", "ServerSideEncryption": "AES256"}
    progress = show_progress("store the model in S3", archive.stat().st_size, "B")
    row = run.ledger.create("s3-prefix", _prefix(job))
    with aws_boundary(f"training {job.name}"), progress as told, row:
        run.aws.client("s3").upload_file(str(archive), bucket, job.model_key, ExtraArgs=extra, Callback=told.advance)


def _record(
    job: RemoteJob,
    refs: Sequence[InstanceRef],
    told: _Told,
    metrics: dict[str, float],
    archive: Path,
    sha256: str,
    logs: tuple[str, ...],
    command: tuple[str, ...],
) -> InstanceModel:
    first = refs[0]
    return InstanceModel(
        name=job.name,
        spec_digest=job.spec_digest,
        model_uri=f"s3://{job.dataset.bucket}/{job.model_key}",
        model_sha256=sha256,
        backbone=job.hyperparameters.backbone,
        classes=job.dataset.classes,
        test_accuracy=metrics["test_accuracy"],
        test_images=int(metrics["test_images"]),
        metrics=metrics,
        instance_type=first.instance_type,
        instance_count=job.instance_count,
        instance_ids=tuple(ref.instance_id for ref in refs),
        instance_reason=first.reason,
        refused=tuple(told.refused),
        spot=first.is_spot,
        interruptions=told.interruptions,
        seconds=told.seconds,
        wall_seconds=round(time.perf_counter() - told.begun, 3),
        billable_seconds=round(told.billable_seconds, 1),
        cost_usd=told.cost_usd,
        prices=first.prices,
        data_digest=job.dataset.digest,
        command=command,
        archive=str(archive),
        log_files=logs,
        git_commit=job.git_commit,
    )

"""Runs a whole training on EC2, from the first launch to the last termination; every way out terminates the instances.

An attempt is a group of instances that train one model together. When EC2 takes them back, their checkpoints are in S3
and the next attempt continues from them; after two interruptions the instances are on-demand. A command that is
repeated after its process was killed finds the instances and their training again. Only `--keep-on-failure` leaves
instances running, and only for the time asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tasks.account.encryption import encryption_of
from tasks.account.network import ec2_network
from tasks.account.role_policies import instance_role
from tasks.ec2.access import ensure_access
from tasks.ec2.job import CONNECT_SECONDS, OVERHEAD_SECONDS, RemoteJob, instance_specs
from tasks.ec2.launch import launch_all, refuse_other_plans
from tasks.ec2.plan import InstancePlan, dead_man_command, dead_man_minutes, plan_instance
from tasks.ec2.prices import InstanceCandidates, with_current_prices
from tasks.ec2.profile import ensure_instance_profile
from tasks.ec2.reconnect import download_model
from tasks.ec2.result import (
    DownloadedModel,
    Totals,
    checked_metrics,
    find_model,
    model_record,
    run_prefix_uri,
    store_model,
)
from tasks.ec2.state import instance_facts, login, why_ended
from tasks.ec2.terminate import end_instances, end_instances_at_exit
from tasks.ec2.training import Heartbeat, Outcome, follow
from tasks.ec2.worker import Worker, start, upload_job
from tasks.run.errors import KennelError, RemoteFailed, StageFailed, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.options import Network
from tasks.run.records import InstanceModel, InstanceRef
from tasks.run.waiting import say
from tasks.ssh.remote import Remote
from tasks.ssh.wait import wait_for_ssh

STAGE = "train_ec2"
MAX_ATTEMPTS = 5
SPOT_ATTEMPTS = 2
HEARTBEAT_SECONDS = 15.0
"""A heartbeat costs little, and the embedded AWS's minute may be shorter than a real one, so it is sent often."""


@dataclass(frozen=True)
class InstanceOptions:
    """Which machines the user asked for; with `keep_minutes` 0, a failed training leaves no instance running."""

    candidates: InstanceCandidates
    spot: bool
    keep_minutes: int
    network: Network


@dataclass(frozen=True)
class _Training:
    """What all attempts of one training have in common."""

    run: Run
    job: RemoteJob
    options: InstanceOptions
    totals: Totals


def adopt_or_train(run: Run, job: RemoteJob, options: InstanceOptions) -> InstanceModel:
    """Return the model of an earlier command after terminating the instances that it left; train if there is none.

    Raises:
        TeardownIncomplete: instances of the earlier command could not be terminated.
        KennelError: the kinds that `train_on_instances` names.
    """
    model = find_model(run, job)
    if model is None:
        return train_on_instances(run, job, options)
    machines = f"{model.instance_count} × {model.instance_type}"
    say(f"EC2 training {job.name}: adopted the model of an earlier command, {model.model_uri}")
    say(f"  it was trained on {machines}; the machine type does not affect the weights")
    end_instances(run)
    return model


def train_on_instances(run: Run, job: RemoteJob, options: InstanceOptions) -> InstanceModel:
    """Train the job on EC2 instances, terminate them, and return the model's record.

    Raises:
        LimitReached: EC2 has no instance of any candidate type.
        NotFound, SettingsRefused: there is no default VPC, or the subnets named are not fit for instances.
        StageFailed: the training failed, or was interrupted too often.
        RemoteFailed: something went wrong on an instance or on the way to it.
        WaitTimedOut: an instance did not come up, or the training did not end in time.
        AwsFailed: AWS refused.
    """
    _ = run.ledger  # refuses a run of another account before anything is changed there
    training, candidates = _Training(run, job, options, Totals()), with_current_prices(run.aws, options.candidates)
    network = ec2_network(run.aws, options.network, [each.name for each in candidates.types])
    access = ensure_access(run, network, instance_count=job.instance_count)
    key_arn = encryption_of(run.aws, job.dataset.bucket).key_arn
    role = instance_role(run.aws, job.run_id, job.dataset, job.weights, keeps_checkpoints=job.spot, key_arn=key_arn)
    profile = ensure_instance_profile(run, role)
    if job.spot:  # the instances will write checkpoints there
        run.ledger.record("s3-prefix", run_prefix_uri(job), "intended")
    for _ in range(MAX_ATTEMPTS):
        plans = [
            plan_instance(
                run,
                access=access,
                network=network,
                volume_key=key_arn,
                profile=profile,
                candidates=candidates,
                spot=options.spot and training.totals.interruptions < SPOT_ATTEMPTS,
                number=number,
                data_bytes=job.dataset.size_bytes,
            )
            for number in range(1, job.instance_count + 1)
        ]
        model = _attempt(training, plans)
        if model is not None:
            return model
    why = f"it was interrupted {training.totals.interruptions} times; its checkpoints are kept"
    raise StageFailed(f"training {job.name}", f"{MAX_ATTEMPTS} attempts", why, "run the same command without --spot")


# --- one attempt ------------------------------------------------------------------------------------------------------


def _attempt(training: _Training, plans: Sequence[InstancePlan]) -> InstanceModel | None:
    """Train on one group of instances; return None when they were interrupted and another attempt may continue."""
    run, job, totals = training.run, training.job, training.totals
    with _launched(training, plans) as refs, ExitStack() as connections:
        with totals.phase("connect"):
            workers = [_connect(run, ref, job, connections) for ref in refs]
        with totals.phase("ship"):
            specs = instance_specs(run.aws, job, [ref.private_address for ref in refs])
            for worker, spec in zip(workers, specs, strict=True):
                upload_job(worker, job, spec)
        started = [start(worker, job) for worker in workers]
        say(f"training {job.name}: {'started' if all(started) else 'continues'} on {len(refs)} instances")
        outcome = _follow(run, job, workers)
        if outcome.state == "interrupted":
            totals.interruptions += 1
            if not job.spot:
                what = "it was stopped from outside kennel"
                raise StageFailed(f"training {job.name}", what, outcome.why, "run the same command again")
            say(f"training {job.name}: interrupted ({outcome.why}); other instances continue from its checkpoints")
            return None
        totals.seconds |= outcome.statuses[0]["seconds"]
        model = _download(training, workers, outcome)
        metrics = checked_metrics(job, model)
        with totals.phase("store"):
            store_model(run, job, model.archive)
    return model_record(job, refs, totals, model, metrics)


@contextmanager
def _launched(training: _Training, plans: Sequence[InstancePlan]) -> Iterator[list[InstanceRef]]:
    """Launch all instances at once, and terminate all that the run has when the block ends, however it ends.

    Instances of another plan are refused before that, and stay: somebody's training may be on them.
    """
    run, totals, keep_minutes = training.run, training.totals, training.options.keep_minutes
    refuse_other_plans(run.aws, plans)
    is_kept = False
    refs: list[InstanceRef] = []
    begun = time.perf_counter()
    try:
        with totals.phase("launch"):
            refs += launch_all(run, plans)
        totals.refused += [each for ref in refs for each in ref.refused if each not in totals.refused]
        yield refs
    except (StageFailed, RemoteFailed, WaitTimedOut) as error:
        is_kept = bool(keep_minutes and refs)
        if is_kept:
            _keep_running(run, refs, keep_minutes, error)
            error.next_command = f"{login(refs[0]).command_line()}\n        and then: kennel down {run.id} --yes"
        raise
    finally:
        if not is_kept:
            with totals.phase("terminate"):
                end_instances_at_exit(run)
            for ref in refs:
                totals.bill(ref, time.perf_counter() - begun)


def _connect(run: Run, ref: InstanceRef, job: RemoteJob, connections: ExitStack) -> Worker:
    remote = connections.enter_context(
        wait_for_ssh(login(ref), lambda: instance_facts(run.aws, ref), deadline_seconds=CONNECT_SECONDS)
    )
    label = f"instance-{ref.number}"
    say(f"{label}: connected to {ref.instance_id} ({ref.instance_type}) at {ref.address}, with its pinned host key")
    log = run.folder / "ec2" / f"{ref.instance_id}-{job.name}.log"
    return Worker(remote, label, log, lambda: why_ended(run.aws, ref.instance_id))


def _follow(run: Run, job: RemoteJob, workers: Sequence[Worker]) -> Outcome:
    heartbeat = Heartbeat(dead_man_command(dead_man_minutes(run.settings)), HEARTBEAT_SECONDS)
    return follow(workers, job, heartbeat=heartbeat, deadline_seconds=job.max_runtime_seconds + OVERHEAD_SECONDS)


def _download(training: _Training, workers: Sequence[Worker], outcome: Outcome) -> DownloadedModel:
    """Download the model from the first instance, after a last heartbeat, because a slow link takes its time."""
    run, first = training.run, workers[0]
    archive = run.folder / "TrainedModels" / "model.tar.gz"
    first.remote.run(dead_man_command(dead_man_minutes(run.settings)), check=False)
    with training.totals.phase("collect"):
        sha256 = download_model(first, training.job, archive)
    command = tuple(outcome.statuses[0]["command"])
    return DownloadedModel(archive, sha256, tuple(worker.log for worker in workers), command)


def _keep_running(run: Run, refs: Sequence[InstanceRef], minutes: int, error: KennelError) -> None:
    """Leave the instances running for `minutes` and print how to log in."""
    say(f"{error.where} failed; as asked, its instances run for {minutes} more minutes and then end by themselves:")
    for ref in refs:
        say(f"  {login(ref).command_line()}")
        try:
            with Remote(login(ref)) as remote:
                remote.run(dead_man_command(dead_man_minutes(run.settings, minutes)))
        except (RemoteFailed, WaitTimedOut) as problem:
            say(f"  {ref.instance_id}: its end could not be postponed ({problem.what}); its dead-man's switch ends it")
    say(f"  to end them now: kennel down {run.id} --yes")

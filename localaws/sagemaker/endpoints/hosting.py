"""Creates, updates, scales and deletes endpoints, each in a thread, and supervises their instances.

The status of an endpoint follows its processes: `InService` is set when every instance has passed its ping, `Failed`
when one has not, and an update (`rollouts.py`) that fails leaves the old fleet serving; `UpdateRollbackFailed` when it
cannot. Callers start one operation at a time for each endpoint.
"""

import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from localaws.core import Core
from localaws.periodic import MEASURE
from localaws.sagemaker.endpoints.deployments import Deployment, Variant
from localaws.sagemaker.endpoints.errors import DeploymentFailed, failure_reason
from localaws.sagemaker.endpoints.fleets import Fleet
from localaws.sagemaker.endpoints.guardrails import Guardrails
from localaws.sagemaker.endpoints.plan import DeploymentPlan, VariantChange
from localaws.sagemaker.endpoints.rollouts import RollbackFailed, Rollout, Surroundings, further_variants
from localaws.sagemaker.endpoints.router import EndpointRoute, InvocationRouter
from localaws.sagemaker.endpoints.spare_keeper import Kept, SpareKeeper
from localaws.sagemaker.endpoints.spares import SpareCounts

SUPERVISION_SECONDS = 0.1
PING_ROUND_SECONDS = 10.0  # emulated, between two pings of an instance in service
SHORTEST_PING_ROUND_SECONDS = 1.0  # real


Ended = Callable[[str | None], None]  # why an operation failed, None if it did not
Maximum = Callable[[str, str], int | None]  # the most instances of an endpoint's variant, None if nobody scales it


class EndpointRecord(Protocol):
    """What is kept in moto's state of an endpoint; `set_status` also moves LastModifiedTime."""

    endpoint_name: str
    endpoint_config_name: str

    def set_status(self, status: str, reason: str | None) -> None:
        """Show the status and FailureReason in DescribeEndpoint."""


class RunningEndpoint:
    """An endpoint's processes. Its operations block until they are done; `EndpointHosting` calls them in threads.

    `live` serves; `pending` starts or takes requests over; `mixed` serves beside `live` since a rollback has failed.
    """

    def __init__(
        self, core: Core, record: EndpointRecord, router: InvocationRouter, routes: dict[str, EndpointRoute]
    ) -> None:
        self.record = record
        self.live: Deployment | None = None
        self.pending: Deployment | None = None
        self.mixed: Deployment | None = None
        self._core = core
        self._router = router
        self._routes = routes
        self._home = core.settings.home / "endpoints"
        self._ended = threading.Event()
        self._publishing = threading.Lock()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What serves, or else what starts."""
        shown = self.live or self.pending
        return shown.variants if shown else ()

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """Everything that runs."""
        return tuple(each for each in (self.live, self.pending, self.mixed) if each)

    def create(self, plan: DeploymentPlan) -> None:
        """Start the first deployment and serve.

        Raises:
            DeploymentFailed: it did not start; nothing of it runs.
        """
        self.pending = deployment = self._deployment(plan)
        try:
            deployment.start()
        except BaseException:
            deployment.close(drain=False)
            raise
        finally:
            self.pending = None
        self.live = deployment
        self._publish(deployment.route())

    def update(self, plan: DeploymentPlan, guardrails: Guardrails) -> None:
        """Start a new fleet, shift the requests to it as the guardrails say, and end the old one.

        Where two fleets serve since a rollback has failed, the new one takes over all at once.

        Raises:
            DeploymentFailed: the update was taken back; the old fleet serves on.
            RollbackFailed: the old fleet could not be completed again; both serve.
        """
        assert self.live is not None
        if self.mixed:
            guardrails = Guardrails(alarms=guardrails.alarms)
        self.pending = new = self._deployment(plan)
        for variant, further in zip(new.variants, further_variants(self.live, plan, guardrails), strict=True):
            variant.reserved_count = further.instance_count
        taken_back = partial(self.record.set_status, "RollingBack")
        surroundings = Surroundings(self._publish, self._router.fence, taken_back, self._ended)
        before = self._routes.get(self.record.endpoint_name) or self.live.route()
        try:
            Rollout(self._core, self.live, new, guardrails, surroundings).run(before)
            former_mix, self.live, self.mixed = self.mixed, new, None
        except RollbackFailed:
            self.mixed = new
            raise
        except BaseException:
            new.close(drain=False)  # nothing of it is left, whatever went wrong while it was taken back
            raise
        finally:
            self.pending = None
        self.record.endpoint_config_name = plan.config_name
        if former_mix:
            former_mix.close(drain=True)

    def change(self, changes: Sequence[VariantChange]) -> None:
        """Set weights at once, then instance counts.

        Raises:
            DeploymentFailed: new instances did not start; the variant keeps the ones that it had.
        """
        assert self.live is not None
        for change in changes:
            variant = self.live.variant(change.variant)
            if variant is not None and change.weight is not None:
                variant.weight = change.weight
        self._publish(self.live.route())
        for change in changes:
            if change.instance_count is not None:
                self._scale(change.variant, change.instance_count)

    def delete(self) -> None:
        """Take no more requests, end every process, leave no file."""
        with self._publishing:
            self._ended.set()
            self._routes.pop(self.record.endpoint_name, None)
        for deployment in self.deployments:
            deployment.close(drain=False)
        shutil.rmtree(self._home / self.record.endpoint_name, ignore_errors=True)

    def _deployment(self, plan: DeploymentPlan) -> Deployment:
        name = self.record.endpoint_name
        return Deployment(self._core, name, plan, home=self._home, fence=self._router.fence)

    def _scale(self, variant_name: str, count: int) -> None:
        assert self.live is not None
        variant = self.live.variant(variant_name)
        assert variant is not None
        before, variant.desired_count = variant.desired_count, count
        variant.tell("Updating", f"Scaling {'out' if count > before else 'in'} desired instance count to {count}.")
        settings = self._core.settings
        try:
            if count > variant.fleet.size:
                least_seconds = settings.instance_startup_seconds / settings.time_scale
                variant.fleet.grow_to(count, least_seconds=least_seconds)
            elif count < variant.fleet.size:
                variant.fleet.shrink_to(count)
        except DeploymentFailed:
            variant.desired_count = before
            raise
        finally:
            variant.tell(None)

    def _publish(self, route: EndpointRoute) -> None:
        with self._publishing:
            if not self._ended.is_set():
                self._routes[self.record.endpoint_name] = route


class EndpointHosting:
    """All running endpoints of this server. `maximum` says how far a variant may be scaled."""

    def __init__(self, core: Core, *, maximum: Maximum) -> None:
        self._core = core
        self._maximum = maximum
        self._routes: dict[str, EndpointRoute] = {}
        self._running: dict[str, RunningEndpoint] = {}
        self._closed = threading.Event()
        self._is_watching = False
        self.router = InvocationRouter(self._routes, core.settings.account_id)
        shutil.rmtree(core.settings.home / "endpoints", ignore_errors=True)  # a killed server's; its state is gone

    def start(self) -> None:
        """Have `close` called when the server stops; the instances are watched over once there is an endpoint."""
        self._core.on_shutdown(self.close)

    def close(self) -> None:
        """Replace nothing any more and take no request; the processes are ended by the core."""
        self._closed.set()
        self._routes.clear()

    def create(self, record: EndpointRecord, plan: DeploymentPlan) -> None:
        """Start an endpoint whose record says `Creating`; it becomes `InService` or `Failed`."""
        running = RunningEndpoint(self._core, record, self.router, self._routes)
        self._running[record.endpoint_name] = running
        if not self._is_watching:
            self._is_watching = True
            self._watch_over()
        self._operate(record, lambda: running.create(plan), failed="Failed")

    def update(self, record: EndpointRecord, plan: DeploymentPlan, guardrails: Guardrails) -> None:
        """Roll out a configuration; `InService` in the end, with a FailureReason if the old one still serves."""
        running = self._running[record.endpoint_name]
        failed = "UpdateRollbackFailed" if running.mixed else "InService"
        self._operate(record, lambda: running.update(plan, guardrails), failed=failed)

    def change(self, record: EndpointRecord, changes: Sequence[VariantChange], then: Ended | None = None) -> None:
        """Change weights and instance counts; the status is `InService` in the end, and `then` is told how it went."""
        running = self._running[record.endpoint_name]
        self._operate(record, lambda: running.change(changes), failed="InService", then=then)

    def delete(self, record: EndpointRecord, forget: Callable[[], None]) -> None:
        """End the processes of an endpoint whose record says `Deleting`, then `forget` it."""
        running = self._running.pop(record.endpoint_name)

        def delete() -> None:
            try:
                running.delete()
            except Exception as error:  # noqa: BLE001 an endpoint must not be in Deleting for ever; it can be deleted again
                self._running[record.endpoint_name] = running
                record.set_status("Failed", failure_reason(f"The endpoint could not be deleted. ({error})", []))
            else:
                forget()

        threading.Thread(target=delete, name=f"delete {record.endpoint_name}", daemon=True).start()

    def describe_variants(self, endpoint_name: str, *, are_shadows: bool = False) -> list[dict[str, Any]]:
        """Return ProductionVariants of DescribeEndpoint, or ShadowProductionVariants: what runs now."""
        variants = self.variants(endpoint_name)
        return [variant.describe() for variant in variants if variant.plan.is_shadow == are_shadows]

    def describe_capture(self, endpoint_name: str) -> dict[str, Any] | None:
        """Return DataCaptureConfig of DescribeEndpoint: that of what serves, or else starts; None without one."""
        running = self._running.get(endpoint_name)
        deployment = (running.live or running.pending) if running else None
        capture = deployment.plan.capture if deployment else None
        return capture.describe() if capture else None

    def describe_pending(self, endpoint_name: str) -> dict[str, Any] | None:
        """Return PendingDeploymentSummary of DescribeEndpoint, None if no deployment is in progress."""
        running = self._running.get(endpoint_name)
        return running.pending.describe_pending() if running and running.pending else None

    def live(self, endpoint_name: str) -> Deployment | None:
        """Return the deployment that serves, None if there is none."""
        running = self._running.get(endpoint_name)
        return running.live if running else None

    def variants(self, endpoint_name: str) -> tuple[Variant, ...]:
        """Return the variants of an endpoint that serve, or else start."""
        running = self._running.get(endpoint_name)
        return running.variants if running else ()

    def instance_counts(self) -> Counter[str]:
        """Return how many instances of each type are asked for by what serves or starts."""
        counts: Counter[str] = Counter()
        for variant in self._all_variants():
            counts[variant.plan.instance_type] += variant.counted
        return counts

    def describe_spares(self) -> dict[tuple[str, str], SpareCounts]:
        """Return the spares of every fleet that serves, by endpoint and variant; nothing where none are kept."""
        kept = self._kept() if self._core.settings.keeps_spares else []
        return {(each.endpoint_name, each.variant_name): each.fleet.spares.counts() for each in kept}

    def retained(self, plan: DeploymentPlan, endpoint_name: str, *, without: frozenset[str]) -> DeploymentPlan:
        """Return `plan` with the instance counts and weights that variants of the same names have now.

        `without`: the properties not to keep, of `DesiredInstanceCount` and `DesiredWeight`.
        """
        live = self._running[endpoint_name].live
        variants = []
        for wanted in plan.variants:
            now = live.variant(wanted.name) if live else None
            if now is not None and "DesiredInstanceCount" not in without:
                wanted = replace(wanted, instance_count=now.desired_count)
            if now is not None and "DesiredWeight" not in without:
                wanted = replace(wanted, weight=now.weight)
            variants.append(wanted)
        return replace(plan, variants=tuple(variants))

    def delete_all(self) -> None:
        """End every endpoint's processes, now."""
        while self._running:
            _, running = self._running.popitem()
            running.delete()

    def bind_instances(self) -> None:
        """Have every instance follow the capacity of its type as it is now. On the event loop."""
        for variant in self._all_variants():
            for instance in variant.fleet.serving:
                instance.bind()

    def variant(self, endpoint_name: str, variant_name: str) -> Variant | None:
        """Return a variant that serves."""
        live = self.live(endpoint_name)
        return live.variant(variant_name) if live else None

    def _operate(
        self, record: EndpointRecord, operation: Callable[[], None], *, failed: str, then: Ended | None = None
    ) -> None:
        def run() -> None:
            failure, status = None, failed
            try:
                operation()
            except DeploymentFailed as error:
                failure = str(error)
                status = "UpdateRollbackFailed" if isinstance(error, RollbackFailed) else failed
            except Exception as error:  # noqa: BLE001 an endpoint must not be in Creating for ever, whatever went wrong
                failure = failure_reason(f"Request to service failed. ({error})", [])
            record.set_status(status if failure else "InService", failure)
            if then is not None:
                then(failure)

        threading.Thread(target=run, name=f"operation on {record.endpoint_name}", daemon=True).start()

    def _kept(self) -> list[Kept]:
        kept = []
        for name, running in list(self._running.items()):
            is_updated = running.pending is not None  # then it is not scaled, and keeps no spares
            for variant in running.live.variants if running.live else ():
                most = 0 if is_updated else self._maximum(name, variant.plan.name)
                kept.append(Kept(name, variant.plan.name, variant.fleet, most))
        return kept

    def _all_variants(self) -> list[Variant]:
        running = list(self._running.values())
        return [variant for each in running for deployment in each.deployments for variant in deployment.variants]

    def _measure(self, moment: int) -> None:
        for variant in self._all_variants():
            variant.metrics.take(variant.fleet.serving, moment)

    def _watch_over(self) -> None:
        """Look after the instances from now on; `close` ends it."""
        ping_seconds = max(PING_ROUND_SECONDS / self._core.settings.time_scale, SHORTEST_PING_ROUND_SECONDS)
        for duty, seconds in ((Fleet.replace_dead, SUPERVISION_SECONDS), (Fleet.replace_hung, ping_seconds)):
            threading.Thread(target=self._supervise, args=(duty, seconds), name=duty.__name__, daemon=True).start()
        if self._core.settings.keeps_spares:
            keeper = SpareKeeper(self._kept, ping_seconds=ping_seconds)
            threading.Thread(target=keeper.run, args=(self._closed,), name="spares", daemon=True).start()
        self._core.periodic.add(self._measure, order=MEASURE)

    def _supervise(self, duty: Callable[[Fleet], None], seconds: float) -> None:
        while not self._closed.wait(seconds):
            for variant in self._all_variants():
                try:
                    duty(variant.fleet)
                except Exception as error:  # noqa: BLE001 supervision of the other fleets must go on
                    print(f"localaws: {duty.__name__} of {variant.fleet.launch.log_group}: {error!r}", file=sys.stderr)

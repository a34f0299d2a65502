"""Creates, updates (blue/green), scales and deletes endpoints, each in a thread, and supervises their instances.

The status of an endpoint follows its processes: `InService` is set when every instance has passed its ping, `Failed`
when one has not, and an update that fails leaves the old fleet serving. Callers start one operation at a time for each
endpoint.
"""

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from localaws.core import Core
from localaws.periodic import MEASURE
from localaws.sagemaker.endpoints.deployments import Deployment, Variant
from localaws.sagemaker.endpoints.errors import DeploymentFailed, failure_reason
from localaws.sagemaker.endpoints.fleets import Fleet
from localaws.sagemaker.endpoints.plan import DeploymentPlan, Rollout, VariantChange
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
    """An endpoint's processes. Its operations block until they are done; `EndpointHosting` calls them in threads."""

    def __init__(
        self, core: Core, record: EndpointRecord, router: InvocationRouter, routes: dict[str, EndpointRoute]
    ) -> None:
        self.record = record
        self.live: Deployment | None = None
        self.next: Deployment | None = None
        self._core = core
        self._router = router
        self._routes = routes
        self._home = core.settings.home / "endpoints"

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What serves, or else what starts."""
        shown = self.live or self.next
        return shown.variants if shown else ()

    def create(self, plan: DeploymentPlan) -> None:
        """Start the first deployment and serve.

        Raises:
            DeploymentFailed: it did not start; nothing of it runs.
        """
        self.live = self._start(plan)
        self._publish()

    def update(self, plan: DeploymentPlan, rollout: Rollout) -> None:
        """Start a new fleet, send requests to it, and end the old one when it has answered those it has.

        Raises:
            DeploymentFailed: the new fleet did not start; the old one serves on.
        """
        old = self.live
        self.live = self._start(plan)
        self._publish()
        self.record.endpoint_config_name = plan.config_name
        if old is not None:
            old.close_spares()  # it is not scaled any more, and serves only what it has
        self._wait(rollout.bake_seconds + rollout.termination_wait_seconds)
        if old is not None:
            self._router.fence()  # a request that read the old route has chosen its instance before there is none
            old.close(drain=True)

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
        self._publish()
        for change in changes:
            if change.instance_count is not None:
                self._scale(change.variant, change.instance_count)

    def delete(self) -> None:
        """Take no more requests, end every process, leave no file."""
        self._routes.pop(self.record.endpoint_name, None)
        if self.live is not None:
            self.live.close(drain=False)
        shutil.rmtree(self._home / self.record.endpoint_name, ignore_errors=True)

    def _start(self, plan: DeploymentPlan) -> Deployment:
        name = self.record.endpoint_name
        self.next = deployment = Deployment(self._core, name, plan, home=self._home, fence=self._router.fence)
        try:
            deployment.start()
        except BaseException:
            deployment.close(drain=False)
            raise
        finally:
            self.next = None
        return deployment

    def _scale(self, variant_name: str, count: int) -> None:
        assert self.live is not None
        variant = self.live.variant(variant_name)
        assert variant is not None
        before, variant.desired_count = variant.desired_count, count
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

    def _publish(self) -> None:
        assert self.live is not None
        self._routes[self.record.endpoint_name] = self.live.route()

    def _wait(self, emulated_seconds: float) -> None:
        time.sleep(emulated_seconds / self._core.settings.time_scale)


class EndpointHosting:
    """All running endpoints of this server. `maximum` says how far a variant may be scaled."""

    def __init__(self, core: Core, *, maximum: Maximum) -> None:
        self._core = core
        self._maximum = maximum
        self._routes: dict[str, EndpointRoute] = {}
        self._running: dict[str, RunningEndpoint] = {}
        self._closed = threading.Event()
        self._is_measured = False
        self.router = InvocationRouter(self._routes, core.settings.account_id)
        shutil.rmtree(core.settings.home / "endpoints", ignore_errors=True)  # a killed server's; its state is gone

    def start(self) -> None:
        """Watch over the instances from now on; `close` ends it."""
        ping_seconds = max(PING_ROUND_SECONDS / self._core.settings.time_scale, SHORTEST_PING_ROUND_SECONDS)
        for duty, seconds in ((Fleet.replace_dead, SUPERVISION_SECONDS), (Fleet.replace_hung, ping_seconds)):
            threading.Thread(target=self._supervise, args=(duty, seconds), name=duty.__name__, daemon=True).start()
        if self._core.settings.keeps_spares:
            keeper = SpareKeeper(self._kept, ping_seconds=ping_seconds)
            threading.Thread(target=keeper.run, args=(self._closed,), name="spares", daemon=True).start()
        self._core.on_shutdown(self.close)

    def close(self) -> None:
        """Replace nothing any more and take no request; the processes are ended by the core."""
        self._closed.set()
        self._routes.clear()

    def create(self, record: EndpointRecord, plan: DeploymentPlan) -> None:
        """Start an endpoint whose record says `Creating`; it becomes `InService` or `Failed`."""
        running = RunningEndpoint(self._core, record, self.router, self._routes)
        self._running[record.endpoint_name] = running
        if not self._is_measured:
            self._is_measured = True
            self._core.periodic.add(self._measure, order=MEASURE)
        self._operate(record, lambda: running.create(plan), failed="Failed")

    def update(self, record: EndpointRecord, plan: DeploymentPlan, rollout: Rollout) -> None:
        """Roll out a configuration; `InService` in the end, with a FailureReason if the old one still serves."""
        running = self._running[record.endpoint_name]
        self._operate(record, lambda: running.update(plan, rollout), failed="InService")

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
        deployment = (running.live or running.next) if running else None
        capture = deployment.plan.capture if deployment else None
        return capture.describe() if capture else None

    def variants(self, endpoint_name: str) -> tuple[Variant, ...]:
        """Return the variants of an endpoint that serve, or else start."""
        running = self._running.get(endpoint_name)
        return running.variants if running else ()

    def instance_counts(self) -> Counter[str]:
        """Return how many instances of each type are asked for by what serves or starts."""
        fleets = [fleet for running in list(self._running.values()) for fleet in (running.live, running.next) if fleet]
        counts: Counter[str] = Counter()
        for variant in (variant for fleet in fleets for variant in fleet.variants):
            counts[variant.plan.instance_type] += variant.desired_count
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
        for variant in self._live_variants():
            for instance in variant.fleet.serving:
                instance.bind()

    def variant(self, endpoint_name: str, variant_name: str) -> Variant | None:
        """Return a variant that serves."""
        running = self._running.get(endpoint_name)
        return running.live.variant(variant_name) if running and running.live else None

    def _operate(
        self, record: EndpointRecord, operation: Callable[[], None], *, failed: str, then: Ended | None = None
    ) -> None:
        def run() -> None:
            failure: str | None = None
            try:
                operation()
            except DeploymentFailed as error:
                failure = str(error)
            except Exception as error:  # noqa: BLE001 an endpoint must not be in Creating for ever, whatever went wrong
                failure = failure_reason(f"Request to service failed. ({error})", [])
            record.set_status(failed if failure else "InService", failure)
            if then is not None:
                then(failure)

        threading.Thread(target=run, name=f"operation on {record.endpoint_name}", daemon=True).start()

    def _kept(self) -> list[Kept]:
        running = [(name, each.live) for name, each in list(self._running.items())]
        return [
            Kept(name, variant.plan.name, variant.fleet, self._maximum(name, variant.plan.name))
            for name, live in running
            if live
            for variant in live.variants
        ]

    def _live_variants(self) -> list[Variant]:
        running = list(self._running.values())
        return [variant for each in running if each.live for variant in each.live.variants]

    def _measure(self, moment: int) -> None:
        for variant in self._live_variants():
            variant.metrics.take(variant.fleet.serving, moment)

    def _supervise(self, duty: Callable[[Fleet], None], seconds: float) -> None:
        while not self._closed.wait(seconds):
            for variant in self._live_variants():
                try:
                    duty(variant.fleet)
                except Exception as error:  # noqa: BLE001 supervision of the other fleets must go on
                    print(f"localaws: {duty.__name__} of {variant.fleet.launch.log_group}: {error!r}", file=sys.stderr)

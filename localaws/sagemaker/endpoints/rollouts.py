"""Carries an update out: starts the new fleet, shifts requests to it step by step, or takes everything back.

Blue/green: the whole new fleet is started, requests go to more and more of its instances, and after the last wait the
old fleet ends. Rolling: a batch of new instances is started, takes requests and bakes; then as many old ones end. After
each shift the alarms are watched. Whatever fails takes the update back: the old fleet is complete and has all requests
before the new one ends. Starting an instance counts in real seconds towards the time limit, because here it does not
become faster with the emulated clock.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from localaws.core import Core
from localaws.sagemaker.endpoints.deployments import Deployment, Variant
from localaws.sagemaker.endpoints.errors import DeploymentFailed, failure_reason
from localaws.sagemaker.endpoints.fleets import Fence
from localaws.sagemaker.endpoints.guardrails import CANARY, ROLLING, Guardrails
from localaws.sagemaker.endpoints.plan import DeploymentPlan, VariantPlan
from localaws.sagemaker.endpoints.rollback_alarms import tripped
from localaws.sagemaker.endpoints.router import EndpointRoute, VariantRoute

LOOK_SECONDS = 1.0  # emulated, between two looks at the alarms
SHORTEST_LOOK_SECONDS = 0.02  # real

Counts = dict[str, int]  # of instances, by variant


class RollbackFailed(DeploymentFailed):
    """An update failed, and its old fleet could not be completed again: both fleets serve."""


@dataclass(frozen=True)
class Surroundings:
    """What an update does to its endpoint: where requests go, and that it is being taken back, with the reason.

    `ended`: set when the endpoint is being deleted.
    """

    publish: Callable[[EndpointRoute], None]
    fence: Fence
    taken_back: Callable[[str], None]
    ended: threading.Event


class Rollout:
    """One update from an endpoint's `old` deployment to its `new` one, which is not started yet."""

    def __init__(
        self, core: Core, old: Deployment, new: Deployment, guardrails: Guardrails, surroundings: Surroundings
    ) -> None:
        self._core = core
        self._old, self._new = old, new
        self._guardrails = guardrails
        self._around = surroundings
        self._scale = core.settings.time_scale
        limit = guardrails.timeout_seconds
        self._deadline = math.inf if limit is None else time.monotonic() + limit / self._scale

    def run(self, before: EndpointRoute) -> None:
        """Have the new deployment serve everything and the old one gone. `before`: where requests go now.

        Raises:
            DeploymentFailed: it was taken back: everything is as before.
            RollbackFailed: the old fleet could not be completed again.
        """
        try:
            first = self._wanted(0)
            self._new.tell("Creating", lambda each: f"Launching {first[each.plan.name]} instance(s).")
            self._new.fetch()
            for number in range(self._shift_count):
                self._shift(number)
        except BaseException as error:
            self._take_back(str(error), before)
            raise
        self._end_old()

    # Forward

    @property
    def _is_rolling(self) -> bool:
        return self._guardrails.kind == ROLLING

    @property
    def _shift_count(self) -> int:
        return max(len(self._guardrails.steps(each.plan.instance_count)) for each in self._new.variants)

    def _counts(self, number: int) -> Counts:
        """Return how many new instances of each variant take requests after a shift."""
        steps = {each.plan.name: self._guardrails.steps(each.plan.instance_count) for each in self._new.variants}
        return {name: counts[min(number, len(counts) - 1)] for name, counts in steps.items()}

    def _wanted(self, number: int) -> Counts:
        """Return how many new instances of each variant there have to be before a shift."""
        if self._is_rolling:
            return self._counts(number)
        return {each.plan.name: each.plan.instance_count for each in self._new.variants}

    def _shift(self, number: int) -> None:
        self._launch(self._wanted(number))
        self._look()
        self._activate(self._counts(number))
        self._bake(is_last=number == self._shift_count - 1)
        if self._is_rolling:
            self._retire()

    def _launch(self, counts: Counts) -> None:
        missing = {each.plan.name: counts[each.plan.name] - each.fleet.size for each in self._new.variants}
        if not any(missing.values()):
            return
        if missing != counts:
            self._new.tell("Updating", lambda each: f"Launching {missing[each.plan.name]} instance(s).")
        begun = time.monotonic()
        until = begun + (self._deadline - begun) * self._scale
        try:
            self._new.launch(counts, until=until)
        except DeploymentFailed as error:
            if time.monotonic() >= until:
                raise DeploymentFailed(self._timed_out()) from error
            raise
        self._deadline += (time.monotonic() - begun) * (1 - 1 / self._scale)

    def _activate(self, counts: Counts) -> None:
        self._new.tell(
            "ActivatingTraffic", lambda each: f"Activating traffic on {self._capacity(each, counts[each.plan.name])}."
        )
        for variant in self._new.variants:
            variant.active_count = counts[variant.plan.name]
        self._around.publish(shared_route(self._old, self._new))

    def _bake(self, *, is_last: bool) -> None:
        is_final = is_last and not self._is_rolling
        guardrails = self._guardrails
        seconds = guardrails.termination_wait_seconds if is_final else guardrails.wait_seconds
        why = "TerminationWaitInSeconds" if is_final else "WaitIntervalInSeconds"
        self._new.tell(
            "Baking",
            lambda each: (
                f"Baking for {seconds} seconds ({why}) with traffic enabled on "
                f"{self._capacity(each, each.active_count or 0)}."
            ),
        )
        end = time.monotonic() + seconds / self._scale
        self._look()
        while (left := end - time.monotonic()) > 0:
            self._around.ended.wait(min(left, max(SHORTEST_LOOK_SECONDS, LOOK_SECONDS / self._scale)))
            self._look()

    def _retire(self) -> None:
        """End the old instances that take no requests any more; the last ones end with their deployment."""
        for variant, kept in _kept(self._old, self._new):
            if 0 < kept < variant.fleet.size:
                variant.tell("Updating", f"Terminating {variant.fleet.size - kept} instance(s).")
                variant.fleet.shrink_to(kept)
                variant.tell(None)

    def _end_old(self) -> None:
        self._old.tell("Deleting", lambda each: f"Terminating {each.fleet.size} instance(s).")
        self._around.fence()  # a request that read the old route has chosen its instance before there is none
        self._old.close(drain=True)
        self._new.tell(None)
        for variant in self._new.variants:
            variant.active_count = variant.reserved_count = None

    def _look(self) -> None:
        """See whether the update may go on.

        Raises:
            DeploymentFailed: it may not; the message says why.
        """
        if self._around.ended.is_set():
            raise DeploymentFailed("The endpoint was deleted while it was updated.")
        if reason := tripped(self._core, self._guardrails.alarms):
            raise DeploymentFailed(failure_reason(reason, []))
        if time.monotonic() > self._deadline:
            raise DeploymentFailed(self._timed_out())

    def _timed_out(self) -> str:
        return (
            "The deployment was rolled back because it took longer than its MaximumExecutionTimeoutInSeconds of "
            f"{self._guardrails.timeout_seconds}."
        )

    def _capacity(self, variant: Variant, count: int) -> str:
        if count >= variant.plan.instance_count:
            return f"full capacity of {count} instance(s)"
        return f"{'canary capacity' if self._guardrails.kind == CANARY else 'capacity'} of {count} instance(s)"

    # Back

    def _take_back(self, reason: str, before: EndpointRoute) -> None:
        if self._around.ended.is_set():
            self._new.close(drain=False)
            return
        self._around.taken_back(reason)
        if self._is_rolling:
            self._restore(reason)
        self._around.publish(before)
        self._new.tell("Deleting", lambda each: f"Terminating {each.fleet.size} instance(s).")
        self._around.fence()
        self._new.close(drain=True)
        self._old.tell(None)

    def _restore(self, reason: str) -> None:
        """Complete the old fleet, by batches if they are wanted, of which each takes over from as many new instances.

        Raises:
            RollbackFailed: an instance of it did not start.
        """
        (old,), (new,) = self._old.variants, self._new.variants
        total, step = old.desired_count, self._guardrails.rollback_step
        while (missing := total - old.fleet.size) > 0:
            batch = min(missing, step.instances(total) if step else missing)
            old.tell("Updating", f"Launching {batch} instance(s).")
            try:
                self._old.launch({old.plan.name: old.fleet.size + batch})
            except DeploymentFailed as error:
                self._new.tell(None)
                self._old.tell(None)
                raise RollbackFailed(failure_reason(f"{reason} The rollback failed: {error}", [])) from error
            left = new.plan.instance_count * (missing - batch) // total
            if left:
                new.active_count = left
                self._around.publish(shared_route(self._old, self._new))
                new.fleet.shrink_to(left)


def further_variants(live: Deployment | None, plan: DeploymentPlan, guardrails: Guardrails) -> tuple[VariantPlan, ...]:
    """Return the variants of a plan with the instances that an update needs of each beside those of `live`."""
    variants = []
    for wanted in plan.variants:
        former = live.variant(wanted.name) if live else None
        count = guardrails.further_instances(wanted.instance_count, former.desired_count if former else 0)
        variants.append(replace(wanted, instance_count=count))
    return tuple(variants)


def shared_route(old: Deployment, new: Deployment) -> EndpointRoute:
    """Return where requests go while both deployments serve.

    Of a variant's requests the new fleet gets the share that its active instances are of all that it will have.
    """
    if all(each.active_count == each.plan.instance_count for each in new.variants):
        return new.route()
    kept = {variant.plan.name: count for variant, count in _kept(old, new)}
    routes: list[VariantRoute] = []
    for variant in new.production:
        active = variant.active_count or 0
        share = active / variant.plan.instance_count
        of_new = replace(_weighed(variant, new), share=share, active=active)
        former = old.variant(variant.plan.name)
        if former is None or share == 1:
            routes.append(of_new)
            continue
        of_old = replace(_weighed(former, old), share=1 - share, active=kept[former.plan.name])
        routes += [replace(of_new, other=of_old), replace(of_old, other=of_new)]
    return new.routed_to(routes)


def _weighed(variant: Variant, deployment: Deployment) -> VariantRoute:
    """Return a variant's route with its share of its deployment's requests as weight: deployments may add up apart."""
    total = sum(each.weight for each in deployment.production)
    return replace(variant.route(), weight=variant.weight / total if total else 0.0)


def _kept(old: Deployment, new: Deployment) -> list[tuple[Variant, int]]:
    """Return the old variants, each with the number of instances that still take requests."""
    kept = []
    for variant in new.production:
        former = old.variant(variant.plan.name)
        if former is not None:
            total = variant.plan.instance_count
            inactive = total - (variant.active_count or 0)
            kept.append((former, -(-former.desired_count * inactive // total)))  # rounded up
    return kept

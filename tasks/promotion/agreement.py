"""Compares what a challenger answers with what the champion answers, on copies of the requests of callers.

Alarms see errors and latency, and no model whose labels are exchanged. Such a model agrees with the champion by chance
at most. A better model differs too, but on the photos where one of both is wrong, whose share the gate has measured.
Each distinct photo counts once, because the same photo gets the same answers again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from tasks.gate.gate import GateRecord
from tasks.promotion.copies import Copies
from tasks.promotion.promote import releases_of
from tasks.promotion.shadow import ShadowPhase, reject, shadowing
from tasks.run.clock import AwsClock
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.handle import Run, RunFolder
from tasks.run.options import PromotionOptions
from tasks.run.record_store import Count, Record, Share
from tasks.run.waiting import say, wait_for
from tasks.serving.endpoint_plan import SHADOW, endpoint_name
from tasks.serving.releases import Release

NAMESPACE, METRIC = "kennel", "Agreement"
LEAST_PAIRS = 30
MARGIN = 0.2
LATE_SECONDS, LATE_WALL_SECONDS = 300.0, 10.0
"""How long after the phase captured requests may still arrive: of AWS's clock, but at least so long really."""
BOTH_ENDS = 0.9
"""The confidence of the interval, so that each of its ends is a bound at 95 %."""


@dataclass(frozen=True)
class Agreement(Record, file="agreement.json", called="agreement of two models", made_by="promote"):
    """On how many `photos` of so many `requests` both models answered the same class, and what was asked for.

    `low` and `high` are bounds at 95 % each of the share that agrees, `least` is the share that it has to be. `outcome`
    is "agree", "differ", or "not shown" where too few photos came to tell.
    """

    champion: str
    challenger: str
    requests: Count
    photos: Count
    agreed: Count
    low: Share
    high: Share
    least: Share
    outcome: str

    @property
    def text(self) -> str:
        """What was found, in words."""
        return (
            f"{self.challenger} and {self.champion} answer the same class on {self.agreed} of {self.photos} photos "
            f"({self.low:.3f} to {self.high:.3f}; at least {self.least:.3f} was asked for)"
        )


def require_agreement(run: Run, wanted: Release, options: PromotionOptions) -> Agreement:
    """Compare a release with the one that serves on copies of the requests, which no caller notices.

    A release that disagrees, or fails to start, is rejected in the registry.

    Raises:
        StageFailed: the release disagrees, or failed to start; the endpoint serves as before.
        WaitTimedOut: nothing was shown after twice the minutes, because too few requests came; or AWS did not finish a
            change in time.
        SettingsRefused, OwnershipRefused, AwsFailed: as `shadowing`.
    """
    with shadowing(run, wanted) as phase:
        found = _observe(run, phase, options)
    say(f"promote: {found.text}")
    if found.outcome == "differ":
        reject(run, wanted, found.text)
        where, look = f"endpoint {endpoint_name(run.id)}", f"kennel models {run.id}, which lists the versions"
        raise StageFailed(where, "the new model disagrees with the one that serves", found.text, look)
    return found


def judge(run: Run, wanted: Release, copies: Copies, asked: float) -> Agreement:
    """Return whether both models agree on at least the share that may be asked for.

    Raises:
        LedgerRefused: the gate's record of the release cannot be read.
    """
    from scipy.stats import binomtest

    champion = releases_of(run).serving
    same = copies.same
    low, high = binomtest(sum(same), len(same)).proportion_ci(BOTH_ENDS, method="wilson") if same else (0.0, 1.0)
    least = least_agreement(_gate_of(run, champion, wanted), asked)
    return Agreement(
        champion=champion.label,
        challenger=wanted.label,
        requests=copies.requests,
        photos=len(same),
        agreed=sum(same),
        low=float(low),
        high=float(high),
        least=least,
        outcome="agree" if low >= least else "differ" if high < least else "not shown",
    )


def least_agreement(gate: GateRecord | None, asked: float) -> float:
    """Return the share of photos on which both models have to agree; without the gate's record, what is asked.

    The photos that both classified right in the gate are photos on which they agree.
    """
    if gate is None or not gate.photos:
        return asked
    both_right = gate.champion_accuracy - gate.only_champion / gate.photos
    return min(1.0, max(0.0, both_right * asked, both_right - MARGIN))


def _gate_of(run: Run, champion: Release, wanted: Release) -> GateRecord | None:
    """Return the gate's record of these two models, if it compared them on this machine."""
    if not wanted.trained_by:
        return None
    found = RunFolder(run.settings.run_dir(wanted.trained_by)).find(GateRecord)
    models = (champion.model_uri, wanted.model_uri)
    return found if found is not None and (found.champion, found.challenger) == models else None


def _observe(run: Run, phase: ShadowPhase, options: PromotionOptions) -> Agreement:
    """Judge the answers each minute and publish the share that agrees, until the phase is over and it is decided."""
    clock, name = AwsClock.from_settings(run.settings), endpoint_name(run.id)
    copies = Copies(run.aws, phase.bucket, f"{phase.prefix}/{name}")
    ends = clock.now() + timedelta(minutes=options.shadow_minutes)

    def probe() -> tuple[Agreement | None, str]:
        copies.read()
        found = judge(run, phase.release, copies, options.least_agreement)
        run.keep(found)
        if found.photos:
            _publish(run, clock, found)
        is_decided = found.requests >= LEAST_PAIRS and found.outcome != "not shown"
        state = f"undecided after {found.requests} copied requests of {LEAST_PAIRS} at least: {found.text}"
        return found if is_decided and clock.now() >= ends else None, state

    again = f"kennel promote {run.id} {phase.release.package} --shadow-minutes 30, while requests come; 0 leaves it out"
    return wait_for(
        run.aws.target,
        f"agreement of {phase.release.label} on endpoint {name}",
        probe,
        deadline_seconds=clock.wall_seconds(2 * 60 * options.shadow_minutes) + _late_seconds(clock),
        poll_seconds=clock.wall_seconds(60.0),
        next_command=again,
    )


def _late_seconds(clock: AwsClock) -> float:
    return max(LATE_WALL_SECONDS, clock.wall_seconds(LATE_SECONDS))


def _publish(run: Run, clock: AwsClock, found: Agreement) -> None:
    point = {
        "MetricName": METRIC,
        "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint_name(run.id)},
            {"Name": "VariantName", "Value": SHADOW},
        ],
        "Timestamp": clock.now(),
        "Value": found.agreed / found.photos,
    }
    with aws_boundary(f"metric {NAMESPACE}/{METRIC}"):
        run.aws.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[point])

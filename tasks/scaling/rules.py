"""What a person chooses and what AWS's documents fix in a scaling plan, each with its page.

Everything in a plan that is neither measured nor derived stands here. Nothing here calls AWS.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.run.errors import SettingsRefused

LOAD_TESTING = "docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-loadtest.html"
TARGET_TRACKING = "docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html"
COOLDOWN = "docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html"
CONCURRENCY = "docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html"
PROVISIONED = "docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html"
RESERVED = "docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html"
SCALING_RATE = "docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html"
LAMBDA_QUOTAS = "docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"

PERIOD_SECONDS = 60
"""SageMakerVariantInvocationsPerInstance is a sum per minute of AWS's."""
OUT_PERIODS = 3
IN_PERIODS = 15
IN_THRESHOLD = 0.9
"""Target tracking's alarms: above the target for 3 minutes, or below 90 % of it for 15."""
RPS_PER_ENVIRONMENT = 10
NEW_ENVIRONMENTS_PER_SECOND = 100.0
"""Lambda starts at most 1,000 environments in 10 s for one function."""
PROVISIONED_PER_SECOND = 100.0
"""Lambda allocates at most 6,000 provisioned environments a minute for one function."""
UNRESERVED_MINIMUM = 100
LONGEST_COOLDOWN_SECONDS = 3600


@dataclass(frozen=True)
class ScalingRules:
    """Choices of a person, with the defaults that the plan names as such.

    `safety_factor` is the most of MAX_RPS that an instance is meant to carry. With `bears_spike` it is lowered until
    the instances of the peak carry the spike too; with `absorbs_ramp` the smallest fleet is large enough for the load
    that comes until the first instance is added. `headroom` is added to Lambda's concurrency, `spillover_share` is
    what may miss provisioned environments where a cold start would break the SLO.

    Raises (constructing):
        SettingsRefused: a rule is out of bounds.
    """

    safety_factor: float = 0.5
    bears_spike: bool = True
    absorbs_ramp: bool = True
    fewest_instances: int = 1
    headroom: float = 0.1
    spillover_share: float = 0.05
    memory_use: float = 0.9
    startup_tolerance: float = 0.5

    def __post_init__(self) -> None:
        """Check the bounds."""
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                what, why = f"{name}={getattr(self, name)!r}", f"it is between {low:g} and {high:g}"
                raise SettingsRefused("scaling rules", what, why, f"choose {name} within these bounds")


@dataclass(frozen=True)
class Limits:
    """What the account allows: its Lambda concurrency, what other functions took of it, and its quota of instances.

    `instances` is the quota of the endpoint's instance type ("… for endpoint usage"), None when it was not asked for.
    `machine_rps` is what the embedded AWS's machine carries with all instances together, None on real AWS.
    """

    lambda_concurrency: int = 1000
    reserved_by_others: int = 0
    instances: int | None = None
    source: str = f"default quota, {LAMBDA_QUOTAS}"
    machine_rps: float | None = None

    @property
    def reservable(self) -> int:
        """The most that one function may reserve: 100 executions have to stay unreserved."""
        return max(0, self.lambda_concurrency - self.reserved_by_others - UNRESERVED_MINIMUM)


_BOUNDS: dict[str, tuple[float, float]] = {
    "safety_factor": (0.05, 0.95),
    "fewest_instances": (1, 1000),
    "headroom": (0.0, 2.0),
    "spillover_share": (1e-6, 1.0),
    "memory_use": (0.1, 1.0),
    "startup_tolerance": (0.0, 5.0),
}

"""Holds a scaling plan's constants: what a person chooses, and what AWS documents, each with its page.

Every number of a plan that is neither measured nor derived is in this module. Nothing here calls AWS.
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
"""The period of SageMakerVariantInvocationsPerInstance, which is a sum per minute of AWS time."""
OUT_PERIODS = 3
IN_PERIODS = 15
IN_THRESHOLD = 0.9
"""Target tracking scales out after 3 minutes above the target, and in after 15 minutes below 90 % of it."""
RPS_PER_ENVIRONMENT = 10
NEW_ENVIRONMENTS_PER_SECOND = 100.0
"""Lambda starts at most 1,000 environments in 10 s for one function."""
PROVISIONED_PER_SECOND = 100.0
"""Lambda allocates at most 6,000 provisioned environments a minute for one function."""
UNRESERVED_MINIMUM = 100
"""What stays for functions without a reservation; in an account with a smaller quota it is all of that quota."""
LONGEST_COOLDOWN_SECONDS = 3600


@dataclass(frozen=True)
class ScalingRules:
    """The rules that a person may choose; the plan marks them as chosen.

    `safety_factor` is the largest share of MAX_RPS that an instance is meant to carry. With `bears_spike` it is lowered
    until the peak's instances can carry the spike too. With `absorbs_ramp` the minimum is large enough for the load
    that arrives before the first added instance serves. `headroom` is the share added to Lambda's concurrency.
    `spillover_share` is the share of requests that may miss provisioned environments where a cold start breaks the SLO.

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
                what, why = f"{name}={getattr(self, name)!r}", f"it has to be between {low:g} and {high:g}"
                raise SettingsRefused("scaling rules", what, why, f"choose {name} within these bounds")


@dataclass(frozen=True)
class Limits:
    """The account's limits: its Lambda concurrency, what other functions reserve of it, and its instance quota.

    `instances` is the quota of the endpoint's instance type ("… for endpoint usage"), or None when it is unknown.
    `machine_rps` is the rate that the embedded AWS's machine carries with all instances together; None on real AWS.
    """

    lambda_concurrency: int = 1000
    reserved_by_others: int = 0
    instances: int | None = None
    source: str = f"default quota, {LAMBDA_QUOTAS}"
    machine_rps: float | None = None

    @property
    def unreserved(self) -> int:
        """The executions that this function shares with others while it has no reservation."""
        return max(0, self.lambda_concurrency - self.reserved_by_others)

    @property
    def reservable(self) -> int:
        """The most that one function may reserve or provision."""
        return max(0, self.unreserved - unreserved_minimum(self.lambda_concurrency))


def unreserved_minimum(lambda_concurrency: int) -> int:
    """Return how many executions Lambda keeps unreserved in an account of that quota.

    Accounts with a quota of 10 or 50 are refused with "below its minimum value of [10]" or "[50]":
    github.com/awslabs/fhir-works-on-aws-deployment/issues/691, github.com/aws-samples/s3-to-lambda-patterns/issues/36.
    """
    return min(UNRESERVED_MINIMUM, lambda_concurrency)


_BOUNDS: dict[str, tuple[float, float]] = {
    "safety_factor": (0.05, 0.95),
    "fewest_instances": (1, 1000),
    "headroom": (0.0, 2.0),
    "spillover_share": (1e-6, 1.0),
    "memory_use": (0.1, 1.0),
    "startup_tolerance": (0.0, 5.0),
}

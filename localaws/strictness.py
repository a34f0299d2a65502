"""How strict a server is: what it does late, and what it refuses, as AWS does and an emulator need not.

`--strict` sets all of it. Each setting's source is in docs/fidelity.md, section "Strict".
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A delay in emulated seconds, drawn evenly between `least` and `most`."""

    least: float = 0.0
    most: float = 0.0

    def __bool__(self) -> bool:
        return self.most > 0

    def drawn(self, seed: int, *what: object) -> float:
        """Return the delay of one thing, always the same for the same seed."""
        digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
        return self.least + (self.most - self.least) * int.from_bytes(digest[:4]) / 0xFFFFFFFF


@dataclass(frozen=True)
class Strictness:
    """What one server does as strictly as AWS; by default nothing.

    `pings_early`: a model server answers `/ping` with 200 before its model has loaded and after that failed.
    `endpoints_offline`: a model server reaches localaws and nothing else, as in a VPC without a way out.
    `identities`: until other services see a new role or instance profile, or a change of a role's policies or trust;
    likewise the role that AWS makes for Application Auto Scaling. `metrics`: until CloudWatch gives a data point, from
    when it was observed; it gives each minute as a whole. `logs`: until CloudWatch Logs gives a line. `final_metrics`:
    from a job's end until DescribeTrainingJob has its metrics. `is_throttled`: whether calls above AWS's rates are
    refused. `capacity_errors`: the share of pools, of a type of instance in a market, that have no capacity for EC2
    and training jobs. `spot_interruptions`: from when a spot job's training begins until its instances are taken back,
    once. `seed`: of all that is drawn.
    """

    pings_early: bool = False
    endpoints_offline: bool = False
    identities: Span = Span()
    metrics: Span = Span()
    logs: Span = Span()
    final_metrics: Span = Span()
    is_throttled: bool = False
    capacity_errors: float = 0.0
    spot_interruptions: Span = Span()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.capacity_errors <= 1.0:
            raise ValueError(f"capacity_errors={self.capacity_errors}: must be a share of 0 to 1")

    @property
    def is_late(self) -> bool:
        """Whether it is that of `--strict`, whose delays its clients have to know."""
        return bool(self.metrics)

    def lacks_capacity(self, instance_type: str, *, is_spot: bool) -> bool:
        """Return whether a pool has no capacity, which is so for as long as the server runs."""
        return Span(0.0, 1.0).drawn(self.seed, "capacity", instance_type, is_spot) < self.capacity_errors


LENIENT = Strictness()
STRICT = Strictness(
    pings_early=True,
    endpoints_offline=True,
    identities=Span(7.5, 12.5),
    metrics=Span(60, 180),
    logs=Span(5, 10),
    final_metrics=Span(30, 30),
    is_throttled=True,
    capacity_errors=0.2,
    spot_interruptions=Span(60, 180),
    seed=538,  # with it, EC2 has none of c7i.xlarge in either market, which is the first type that kennel tries
)

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
    `identities`: until other services see a new role or instance profile, or a change of a role's policies or trust;
    likewise the role that AWS makes for Application Auto Scaling. `metrics`: until CloudWatch gives a data point, from
    when it was observed; it gives each minute as a whole. `logs`: until CloudWatch Logs gives a line. `final_metrics`:
    from a job's end until DescribeTrainingJob has its metrics. `is_throttled`: whether calls above AWS's rates are
    refused. `seed`: of all delays.
    """

    pings_early: bool = False
    identities: Span = Span()
    metrics: Span = Span()
    logs: Span = Span()
    final_metrics: Span = Span()
    is_throttled: bool = False
    seed: int = 0


LENIENT = Strictness()
STRICT = Strictness(
    pings_early=True,
    identities=Span(7.5, 12.5),
    metrics=Span(60, 180),
    logs=Span(5, 10),
    final_metrics=Span(30, 30),
    is_throttled=True,
)

"""What is kept about spare environments: how many there may be, each revision's, and the counts that are shown."""

from dataclasses import dataclass, field

from localaws.functions.deployment import Deployment
from localaws.functions.environment import Environment

FAILURES_ALLOWED = 3  # in a row, before a revision has no spares any more


@dataclass(frozen=True)
class Bounds:
    """How many spares there may be. `kept_seconds`: real, so long after a revision's last invocation it has some."""

    of_revision: int
    in_all: int
    kept_seconds: float = 60.0


SPARES = Bounds(of_revision=8, in_all=16)


NO_SPARES = Bounds(of_revision=0, in_all=0)


@dataclass(frozen=True)
class SpareCounts:
    """What there is for a function, and what became of its cold starts and spares since it was first invoked.

    `taken`: cold starts that took a spare; `cold`: those that started a process; `discarded`: spares whose init called
    AWS; `failed`: those whose init failed or that died.
    """

    wanted: int
    ready: int
    taken: int
    cold: int
    discarded: int
    failed: int
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Spare:
    environment: Environment
    init_seconds: float  # of processor time


@dataclass(eq=False)
class Revision:
    """A revision that was invoked on demand. `deaths`: of spares since one was taken; `failures`: of inits in a row."""

    deployment: Deployment
    used_at: float
    ready: list[Spare] = field(default_factory=list)
    failures: int = 0
    deaths: int = 0
    is_refused: bool = False
    is_gone: bool = False

    @property
    def may_have_spares(self) -> bool:
        return not (self.is_refused or self.is_gone or max(self.failures, self.deaths) >= FAILURES_ALLOWED)


@dataclass(eq=False)
class Tally:
    deployment: Deployment  # the last that was started
    taken: int = 0
    cold: int = 0
    discarded: int = 0
    failed: int = 0

"""What a search cost, against the usual way, in which each trial is a training job that embeds the photos again."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.account.prices import PRICES_SOURCE
from tasks.run.records import TrainedModel
from tasks.run.trials import Search


@dataclass(frozen=True)
class SearchCost:
    """The billed seconds of each instance and the USD (None at an unknown price) of one job and of `jobs` jobs.

    Each of the other jobs is taken to be billed what this one was without its search, which the job itself measured. If
    SageMaker's own tuner searched (`by_tuner`), the jobs are those that ran, and the one is the training after them.
    """

    jobs: int
    search_seconds: float
    billed_seconds: float
    usd: float | None
    jobs_billed_seconds: float
    jobs_usd: float | None
    by_tuner: bool = False

    @classmethod
    def of(cls, model: TrainedModel, search: Search) -> SearchCost:
        """Return the cost of the job that searched and trained a model."""
        jobs, billed, tuned = len(search.trials) - 1, model.billable_seconds, model.search_billable_seconds
        rate = None if model.cost_usd is None or billed <= 0 else model.cost_usd / billed
        if tuned:
            usd = None if rate is None else rate / model.instance_count * tuned
            return cls(jobs + 1, tuned, billed, model.cost_usd, tuned, usd, by_tuner=True)
        others = jobs * max(0.0, billed - search.seconds)
        return cls(jobs, search.seconds, billed, model.cost_usd, others, None if rate is None else rate * others)

    @property
    def text(self) -> str:
        """One line: this job, and the jobs that it makes unnecessary, or that searched for it."""
        if self.by_tuner:
            return (
                f"SageMaker's tuner: {self.jobs_billed_seconds:,.0f} s billed in {self.jobs} jobs, "
                f"{_usd(self.jobs_usd)}; the training after it: {self.billed_seconds:,.0f} s, {_usd(self.usd)}"
            )
        return (
            f"one job: {self.billed_seconds:,.0f} s billed, {self.search_seconds:.1f} of them for the search, "
            f"{_usd(self.usd)}; a job a trial: {self.jobs_billed_seconds:,.0f} s in {self.jobs} jobs, "
            f"{_usd(self.jobs_usd)}, an estimate"
        )

    @property
    def source(self) -> str:
        """Where the price is from."""
        return "The price is unknown." if self.usd is None else f"{PRICES_SOURCE}."


def _usd(amount: float | None) -> str:
    return "at an unknown price" if amount is None else f"{amount:.4f} USD"

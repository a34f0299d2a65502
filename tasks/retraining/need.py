"""Decides in a second whether there is something to train: the data, the code or the options are other than before.

A schedule that slept makes up for its runs one after the other; all but the first find nothing to do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from tasks.data.judgement_cache import JudgementCache, LocatedSource
from tasks.model.code import TRAINING_SOURCE, tree_digest
from tasks.promotion.promote import releases_of
from tasks.registry.packages import CODE, DATA, ModelVersion, describe_package
from tasks.retraining.record import Retraining
from tasks.run import naming
from tasks.run.errors import aws_boundary
from tasks.run.handle import Run
from tasks.run.options import TrainingOptions
from tasks.run.source_name import source_name
from tasks.run.training_choice import TrainingChoice

When = Literal["changed", "always"]


@dataclass(frozen=True)
class Need:
    """Why to train, in words, or `why_not`; and the run of the challenger that would be trained.

    `is_only_data`: the one reason is the data, which may turn out to hold the same images once it is staged.
    """

    reasons: tuple[str, ...]
    why_not: str
    is_only_data: bool
    challenger: str
    data_digest: str
    code: str
    training: str


@dataclass(frozen=True)
class Seen:
    """What models were trained on and with before: their data, code and options."""

    data: frozenset[str]
    code: frozenset[str]
    training: frozenset[str]


def find_need(
    service: Run,
    located: LocatedSource,
    training: TrainingOptions,
    when: When,
    at_least_hours: float,
    because: str = "",
) -> Need:
    """Compare the source, the code and the options with those of the champion and of the latest challenger.

    `because` is what asked for a look, such as a drift. It is told with the reasons and is none by itself: the same
    data, code and options make the same model.

    Raises:
        SettingsRefused: the run has no trained model.
        SourceRefused: a folder cannot be listed.
        AwsFailed: SageMaker refused.
    """
    cache, last = JudgementCache(located, service.settings), service.find(Retraining)
    known = cache.find()
    data = "" if known is None else known.digest
    code, options = tree_digest(TRAINING_SOURCE), TrainingChoice.of(training).options
    seen = _seen(service, last)
    others = [] if when == "changed" else ["it was asked for always"]
    others += ["the training code is new"] if code not in seen.code else []
    others += ["the training options are new"] if options not in seen.training else []
    reasons = [*([f"the data at {located.label} is new"] if data not in seen.data else []), *others]
    why_not = "data, code and options are those of earlier models"
    if because:
        reasons = [because, *reasons] if reasons else []
        why_not += "; another model needs other data: label photos like the new ones, and add them"
    if reasons and last is not None and _hours_since(last.at) < at_least_hours:
        reasons, why_not = [], f"the last training was at {last.at}, less than {at_least_hours:g} hours ago"
    challenger = _challenger(service.id, located, training, cache.identity, code)
    return Need(tuple(reasons), why_not, not others, challenger, data, code, options)


def still_new(service: Run, need: Need, data_digest: str) -> bool:
    """Tell whether there is a reason to train after the data was staged, whose digest may have been seen before."""
    return not need.is_only_data or data_digest not in _seen(service, service.find(Retraining)).data


def _seen(service: Run, last: Retraining | None) -> Seen:
    data, code = _of_champion(service)
    own = service.find(TrainingChoice)
    return Seen(
        frozenset(filter(None, (data, "" if last is None else last.data_digest))),
        frozenset(filter(None, (code, "" if last is None else last.code))),
        frozenset((*([] if own is None else [own.options]), *([] if last is None else [last.training]))),
    )


def _of_champion(service: Run) -> tuple[str, str]:
    """Return the digests of the data and the code that made what the endpoint serves, as the registry has them."""
    serving, own = releases_of(service).serving, service.find(ModelVersion)
    arn = serving.package or ("" if own is None else own.arn)
    with aws_boundary(f"model package {arn}"):
        found = describe_package(service.aws, arn) if arn else None
    return ("", "") if found is None else (found.metadata.get(DATA, ""), found.metadata.get(CODE, ""))


def _challenger(service_id: str, located: LocatedSource, training: TrainingOptions, data: str, code: str) -> str:
    """Return the challenger's run id, the same for the same data, code and options: it is adopted, not trained anew."""
    trained = naming.training_run_id(located.label, training)
    content = hashlib.sha256("\n".join((service_id, trained, data, code)).encode()).hexdigest()
    return naming.run_id_for(source_name(located.label), challenger=content)


def _hours_since(at: str) -> float:
    """Return the hours since a time; many for one that lies ahead, because the clock was set back."""
    hours = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds() / 3600
    return hours if hours >= 0 else float("inf")

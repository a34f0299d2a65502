"""Tells a search for hyperparameters: as a row of the table, as a section of the report and as JSON."""

from __future__ import annotations

from dataclasses import asdict

from tasks.report.search_cost import SearchCost
from tasks.report.search_study import SearchStudy
from tasks.run.escaping import markdown_link, markdown_table, markdown_text
from tasks.run.records import TrainedModel
from tasks.run.trials import Search, Trial

FLATTERED = "The winner was chosen by its loss on these images, which flatters it."
ASSUMED = "A job a trial is taken to be billed what this one was without its search."
MOST_ROWS = 20
"""Of trials, in the table that a command prints; the report has all."""


def search_rows(model: TrainedModel) -> dict[str, str]:
    """Return the rows of the table that a run prints last; none without a search."""
    if model.search is None:
        return {}
    told = f"{_counts(model.search)}; {_against_default(model.search)}"
    return {"search": told, "search cost": SearchCost.of(model, model.search).text}


def trial_rows(search: Search) -> dict[str, str]:
    """Return a row for each of the best trials, and one for the winner's hyperparameters."""
    best = [trial for trial in _from_the_best(search) if trial.loss is not None][:MOST_ROWS]
    return {f"trial {trial.number}": _trial_text(trial) for trial in best} | {"winner": _values(search.best)}


def _trial_text(trial: Trial) -> str:
    cut = ", cut" if trial.state == "pruned" else ""
    found = f"loss {trial.loss:.4f}, accuracy {trial.accuracy:.4f} of {trial.images}"
    return f"{found}, {len(trial.losses)} epochs{cut}; {_values(trial)}"


def _values(trial: Trial) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in trial.parameters.items())


def _from_the_best(search: Search) -> list[Trial]:
    return sorted(search.trials, key=lambda trial: (trial.loss is None, trial.loss, trial.number))


def _trained_anew(search: Search, model: TrainedModel) -> str:
    done = "The winner was trained anew" if search.winner else "The default was kept"
    again = f"{done}, and the test images were used for that model alone."
    loss, kept = search.best.loss, model.metrics.get("validation_loss")
    return (
        again if loss is None or kept is None else f"{again} Its trial had a loss of {loss:.4f}, the model {kept:.4f}."
    )


def _counts(search: Search) -> str:
    cut, failed = search.count("pruned"), search.count("failed")
    return f"{len(search.trials) - 1} trials ({cut} cut, {failed} failed), {search.seconds:.1f} s"


def _against_default(search: Search) -> str:
    if search.winner == 0:
        return "none is better than the default"
    against = search.against_default
    if against is None:
        return f"trial {search.winner} won; the default itself failed"
    by = f"{-against.difference:.4f} (95 %: {-against.high:.4f} to {-against.low:.4f}, n = {against.images} images)"
    clear = "" if against.is_clear else ", not distinguishable"
    return f"trial {search.winner} has a validation loss lower than the default's by {by}{clear}"


def search_markdown(model: TrainedModel | None, study: SearchStudy | None) -> list[str]:
    """Return the report's section, with the trials from the lowest loss on; `study` is that of the model's search."""
    search = None if model is None else model.search
    if model is None or search is None:
        return []
    names = list(search.space)
    head = ("trial", "ended", "validation loss", "accuracy", "epochs", *(markdown_text(name) for name in names))
    return [
        "## Search for hyperparameters",
        "",
        f"{markdown_text(_counts(search))}, seed {search.seed}, by {markdown_text(search.objective)}: "
        f"{markdown_text(_against_default(search))}.",
        f"{FLATTERED} Trial 0 is the default. {_trained_anew(search, model)}",
        "",
        *markdown_table(head, [_trial_cells(trial, names) for trial in _from_the_best(search)]),
        "",
        *_cost_lines(SearchCost.of(model, search)),
        *([] if study is None else _study_lines(study)),
    ]


def _cost_lines(cost: SearchCost) -> list[str]:
    sentence = f"{cost.text[0].upper()}{cost.text[1:]}."
    assumed = "" if cost.by_tuner else f" {ASSUMED}"
    return [f"{markdown_text(sentence)}{assumed} {markdown_text(cost.source)}", ""]


def _study_lines(study: SearchStudy) -> list[str]:
    found = study.importances
    head = ("hyperparameter", "share of the losses' variance", "95 %")
    rows = [
        (markdown_text(each.name), f"{each.share:.2f}", f"{each.low:.2f} to {each.high:.2f}") for each in found.shares
    ]
    told = f"Importance by fANOVA of {found.of_what}; the intervals are those of resampled trials."
    importance = [*markdown_table(head, rows), "", told] if rows else [f"Importance: {markdown_text(found.why_none)}."]
    picture = [f"!{markdown_link('the search', study.picture)}", ""] if study.picture else []
    return [*importance, "", *picture, *([f"- {markdown_text(study.note)}", ""] if study.note else [])]


def _trial_cells(trial: Trial, names: list[str]) -> tuple[str, ...]:
    loss = "" if trial.loss is None else f"{trial.loss:.6f}"
    accuracy = "" if trial.accuracy is None else f"{trial.accuracy:.4f} of {trial.images}"
    values = (f"{trial.parameters[name]:.4g}" for name in names)
    return (
        str(trial.number),
        markdown_text(trial.reason or ("cut" if trial.state == "pruned" else trial.state)),
        loss,
        accuracy,
        str(len(trial.losses)),
        *values,
    )


def search_json(model: TrainedModel | None, study: SearchStudy | None) -> dict[str, object] | None:
    """Return the JSON content that `kennel run --json` prints, None without a search."""
    search = None if model is None else model.search
    if model is None or search is None:
        return None
    against = search.against_default
    return {
        "trials": len(search.trials) - 1,
        "cut": search.count("pruned"),
        "failed": search.count("failed"),
        "winner": search.winner,
        "parameters": dict(search.best.parameters),
        "validation_loss": search.best.loss,
        "against_default": None if against is None else asdict(against),
        "seconds": search.seconds,
        "cost": asdict(SearchCost.of(model, search)),
        "importances": None if study is None else asdict(study.importances),
        "picture": None if study is None else study.picture or None,
    }

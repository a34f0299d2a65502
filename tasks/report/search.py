"""Tells a search for hyperparameters: as a row of the table, as a section of the report and as JSON."""

from __future__ import annotations

from dataclasses import asdict

from tasks.run.escaping import markdown_table, markdown_text
from tasks.run.records import TrainedModel
from tasks.run.trials import Search, Trial

FLATTERED = "The winner was chosen by its loss on these images, which flatters it."


def search_rows(search: Search) -> dict[str, str]:
    """Return the row of the table that a run prints last."""
    return {"search": f"{_counts(search)}; {_against_default(search)}"}


def _trained_anew(search: Search, model: TrainedModel) -> str:
    again = "The winner was trained anew, and the test images were used for that model alone."
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


def search_markdown(model: TrainedModel | None) -> list[str]:
    """Return the report's section, with the trials from the lowest loss on."""
    search = None if model is None else model.search
    if model is None or search is None:
        return []
    trials = sorted(search.trials, key=lambda trial: (trial.loss is None, trial.loss, trial.number))
    names = list(search.space)
    head = ("trial", "ended", "validation loss", "accuracy", "epochs", *(markdown_text(name) for name in names))
    return [
        "## Search for hyperparameters",
        "",
        f"{markdown_text(_counts(search))}, seed {search.seed}, by {markdown_text(search.objective)}: "
        f"{markdown_text(_against_default(search))}.",
        f"{FLATTERED} Trial 0 is the default. {_trained_anew(search, model)}",
        "",
        *markdown_table(head, [_trial_cells(trial, names) for trial in trials]),
        "",
    ]


def _trial_cells(trial: Trial, names: list[str]) -> tuple[str, ...]:
    loss = "" if trial.loss is None else f"{trial.loss:.6f}"
    accuracy = "" if trial.accuracy is None else f"{trial.accuracy:.4f} of {trial.images}"
    values = (f"{trial.parameters[name]:.4g}" for name in names)
    return (
        str(trial.number),
        markdown_text(trial.reason or trial.state),
        loss,
        accuracy,
        str(len(trial.losses)),
        *values,
    )


def search_json(search: Search | None) -> dict[str, object] | None:
    """Return the JSON content that `kennel run --json` prints."""
    if search is None:
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
    }

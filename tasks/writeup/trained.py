"""The paragraphs about the data and the training: what was built, on which machines, and what several of them did."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.report.summary import accuracy_interval
from tasks.writeup.prose import Paragraph, Part, paragraph, sentence
from tasks.writeup.sources import Citation, Sources, refused

DATA, MODEL, EC2, PARITY = "stage_data.json", "train_sagemaker.json", "train_ec2.json", "parity.json"
NOTEBOOK, ENDPOINT = "notebook.json", "endpoint.json"
DIFFERENCES = ("entry point", "credentials", "end of the instances")
"""What of the comparison of the two ways is told."""


def result(run: Sources) -> Paragraph:
    """Return what was built, and how good it is."""
    try:
        low, high = accuracy_interval(run.value(MODEL, "test_accuracy"), run.value(MODEL, "test_images"))
    except ValueError as error:
        raise refused(run.run.id, MODEL, "test_accuracy", str(error)) from error
    of = [(MODEL, key) for key in ("test_accuracy", "test_images")]
    photos = sum(run.value(DATA, "counts").get("train", {}).values())
    served = " It serves behind a SageMaker endpoint and a Lambda function." if run.has(ENDPOINT) else ""
    return paragraph(
        "What was built",
        sentence(
            "A classifier of {classes} classes was trained on {photos} photos of the data set named {name}; its "
            f"backbone is {{backbone}}.{served}",
            classes=run.count(DATA, "classes"),
            photos=run.computed(f"{photos:,}", "sum", (DATA, "counts")),
            name=run.text(DATA, "name"),
            backbone=run.text(MODEL, "backbone"),
        ),
        sentence(
            "It names {accuracy} of {images} correctly that it had not seen. With so many photos, the true share lies "
            "between {low} and {high}, with a confidence of ninety-five in a hundred.",
            accuracy=run.share(MODEL, "test_accuracy"),
            images=run.number(MODEL, "test_images", ",", "photos"),
            low=run.computed(f"{100 * low:.1f} %", "Wilson's lower bound", *of),
            high=run.computed(f"{100 * high:.1f} %", "Wilson's upper bound", *of),
        ),
    )


def notebook(run: Sources) -> Paragraph:
    """Return why the notebook instance is the one that it is."""
    title = "Why this notebook instance"
    if not run.has(NOTEBOOK, "state.instance_type"):
        why = "every step was started from the command line, so none would have had work to do."
        return paragraph(title, sentence(f"This run made no notebook instance: {why}"))
    return paragraph(
        title,
        sentence(
            "The notebook instance is a {type} ({reason}). It stops itself after {minutes} idle minutes.",
            type=run.text(NOTEBOOK, "state.instance_type"),
            reason=run.text(NOTEBOOK, "instance_reason"),
            minutes=run.computed(str(run.value(NOTEBOOK, "idle_minutes")), "minutes", (NOTEBOOK, "idle_minutes")),
        ),
    )


def training(run: Sources) -> Paragraph:
    """Return why SageMaker's machines are those that they are, and what the training took."""
    spot = "on spot capacity" if run.value(MODEL, "spot") else "on demand"
    told = [
        sentence(
            f"SageMaker trained on {{count}} × {{type}}, {spot}. The type follows from the work ({{reason}}).",
            count=run.number(MODEL, "instance_count", "d", ""),
            type=run.text(MODEL, "instance_type"),
            reason=run.text(MODEL, "instance_reason"),
        )
    ]
    if run.value(MODEL, "instance_count") > 1:
        told.append(sentence("Each instance reads its own part of the photos, and they average their gradients."))
    told.append(
        sentence(
            "The job took {seconds}; AWS would bill {billed} for each instance.",
            seconds=run.number(MODEL, "seconds", ".1f", "s"),
            billed=run.number(MODEL, "billable_seconds", ".0f", "s"),
        )
    )
    if run.has(MODEL, "search"):
        told.append(_search(run))
    return paragraph("Why this training instance, and how many", *told)


def _search(run: Sources) -> tuple[Part, ...]:
    others = max(0, len(run.value(MODEL, "search.trials")) - 1)
    trials = run.computed(str(others), "number without the defaults", (MODEL, "search.trials"))
    apart = run.has(MODEL, "search_billable_seconds") and run.value(MODEL, "search_billable_seconds") > 0
    where = "In training jobs of their own" if apart else "In the same job"
    if run.value(MODEL, "search.winner") == 0:
        return sentence(
            f"{where} {{trials}} other sets of hyperparameters were tried, and none was better than the defaults.",
            trials=trials,
        )
    return sentence(
        f"{where} {{trials}} sets of hyperparameters were tried beside the defaults; set {{winner}} was the best.",
        trials=trials,
        winner=run.computed(str(run.value(MODEL, "search.winner")), "number", (MODEL, "search.winner")),
    )


def instances(runs: Sequence[Sources]) -> Paragraph:
    """Return what another number of instances did, by the other runs that can be compared."""
    title, first = "What several instances did", runs[0]
    others = [run for run in runs[1:] if _is_comparable(first, run)]
    if not others:
        why = "no run of the same data and backbone on another number of instances was given to compare with."
        return paragraph(title, sentence(f"Nothing is claimed about a speed-up: {why}"))
    return paragraph(title, *(_beside(first, other) for other in others))


def _is_comparable(first: Sources, other: Sources) -> bool:
    same = all(first.value(MODEL, key) == other.value(MODEL, key) for key in ("data_digest", "backbone"))
    return same and first.value(MODEL, "instance_count") != other.value(MODEL, "instance_count")


def _beside(first: Sources, other: Sources) -> tuple[Part, ...]:
    is_same = first.value(MODEL, "test_accuracy") == other.value(MODEL, "test_accuracy")
    ratio = other.value(MODEL, "seconds") / max(first.value(MODEL, "seconds"), 1e-9)
    word = "the same test accuracy" if is_same else "another test accuracy"
    bill = _bills(first, other)
    return sentence(
        f"With {{other_count}} instead of {{count}} the job took {{other_seconds}} instead of {{seconds}}, {{ratio}} "
        f"as long,{' cost {other_usd} instead of {usd},' if bill else ''} and reached {word} ({{other_accuracy}} and "
        "{accuracy}).",
        other_count=other.number(MODEL, "instance_count", "d", ""),
        count=first.number(MODEL, "instance_count", "d", ""),
        other_seconds=other.number(MODEL, "seconds", ".1f", "s"),
        seconds=first.number(MODEL, "seconds", ".1f", "s"),
        ratio=other.computed(f"{ratio:.2f} times", f"ratio to run {first.run.id}", (MODEL, "seconds")),
        other_accuracy=other.number(MODEL, "test_accuracy", ".4f", ""),
        accuracy=first.number(MODEL, "test_accuracy", ".4f", ""),
        **bill,
    )


def _bills(first: Sources, other: Sources) -> dict[str, Citation]:
    if not (first.has(MODEL, "cost_usd") and other.has(MODEL, "cost_usd")):
        return {}
    return {name: run.number(MODEL, "cost_usd", ".4f", "USD") for name, run in (("other_usd", other), ("usd", first))}


def ec2(run: Sources) -> Paragraph:
    """Return why the EC2 instance is the one that it is, and how its code differs from SageMaker's."""
    title = "Why this EC2 instance, and how its code differs"
    if not run.has(EC2):
        return paragraph(title, sentence("This run did not train on EC2."))
    ending = "It was interrupted {n} times." if run.value(EC2, "interruptions") else "Nothing interrupted it."
    counted = {"n": run.number(EC2, "interruptions", "d", "")} if run.value(EC2, "interruptions") else {}
    told = [
        sentence(
            "Over SSH the same training script ran on {count} × {type}. The type follows from the work again "
            "({reason}). It took {seconds} from the launch to the termination.",
            count=run.number(EC2, "instance_count", "d", ""),
            type=run.text(EC2, "instance_type"),
            reason=run.text(EC2, "instance_reason"),
            seconds=run.number(EC2, "wall_seconds", ".1f", "s"),
        ),
        sentence(ending, **counted),
    ]
    if run.has(PARITY):
        told.append(sentence("Compared with SageMaker's: {verdict}.", verdict=run.text(PARITY, "verdict")))
        told += _differences(run)
    return paragraph(title, *told)


def _differences(run: Sources) -> list[tuple[Part, ...]]:
    known = {each["what"] for each in run.value(PARITY, "environment")}
    if not known.issuperset(DIFFERENCES):
        return []
    return [
        sentence("The script is the same file; what is around it differs."),
        *(_surroundings(run, name, way) for name, way in (("SageMaker", "sagemaker"), ("EC2", "ec2"))),
    ]


def _surroundings(run: Sources, name: str, way: str) -> tuple[Part, ...]:
    start, credentials, end = (run.text(PARITY, f"environment[what={each}].{way}") for each in DIFFERENCES)
    return sentence(
        f"On {name}: {{start}}; its credentials are those of the {{credentials}}; as for the instances, {{end}}.",
        start=start,
        credentials=credentials,
        end=end,
    )

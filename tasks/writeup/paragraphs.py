"""The paragraphs of the writeup: what was chosen, why, and what showed that it is right.

A paragraph whose record is missing says what was not done; a claim is made only where the records bear it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks.report.summary import accuracy_interval
from tasks.scaling.choice import format_amount
from tasks.scaling.prices import HOURS_A_MONTH
from tasks.writeup.prose import Paragraph, Part, paragraph, sentence
from tasks.writeup.sources import Citation, Sources, refused

DATA, MODEL, EC2, PARITY = "stage_data.json", "train_sagemaker.json", "train_ec2.json", "parity.json"
ENDPOINT, FUNCTION, SMOKE = "endpoint.json", "function.json", "smoke.json"
SCALING, PERMISSIONS, AUDIT, NOTEBOOK = "scaling.json", "permissions.json", "audit.json", "notebook.json"


def paragraphs(runs: Sequence[Sources]) -> list[Paragraph]:
    """Return the paragraphs of a writeup of the first run; the others are compared with it.

    Raises:
        StageFailed: a figure cannot be cited.
    """
    run = runs[0]
    before = (_result, _notebook, _training)
    after = (_ec2, _function, _security, _concurrency, _autoscaling, _load, _cost)
    return [*(make(run) for make in before), _instances(runs), *(make(run) for make in after)]


def _result(run: Sources) -> Paragraph:
    try:
        low, high = accuracy_interval(run.value(MODEL, "test_accuracy"), run.value(MODEL, "test_images"))
    except ValueError as error:
        raise refused(run.run.id, MODEL, "test_accuracy", str(error)) from error
    interval = run.computed(f"{low:.3f} to {high:.3f}", "Wilson's interval", *_both("test_accuracy", "test_images"))
    return paragraph(
        "What was built",
        sentence(
            "A classifier of {classes} classes was trained on the photos of {name} (backbone {backbone}) and is "
            "right about {accuracy} of {images} that it had not seen; with a confidence of ninety-five in a hundred "
            "that share lies in {interval}.",
            classes=run.count(DATA, "classes"),
            name=run.text(DATA, "name"),
            backbone=run.text(MODEL, "backbone"),
            accuracy=run.number(MODEL, "test_accuracy", ".4f", ""),
            images=run.number(MODEL, "test_images", ",", "photos"),
            interval=interval,
        ),
    )


def _both(*keys: str) -> list[tuple[str, str]]:
    return [(MODEL, key) for key in keys]


def _notebook(run: Sources) -> Paragraph:
    title = "Why this notebook instance"
    if not run.has(NOTEBOOK, "state.instance_type"):
        return paragraph(title, sentence("No notebook instance was made: the command line started everything."))
    return paragraph(
        title,
        sentence(
            "The notebook instance is a {type}: {reason}.",
            type=run.text(NOTEBOOK, "state.instance_type"),
            reason=run.text(NOTEBOOK, "instance_reason"),
        ),
    )


def _training(run: Sources) -> Paragraph:
    spot = "on spot capacity" if run.value(MODEL, "spot") else "on demand"
    return paragraph(
        "Why this training instance, and how many",
        sentence(
            f"SageMaker trained on {{count}} × {{type}}, {spot}: {{reason}}. The job took {{seconds}}, of which AWS "
            "would bill {billed} for each instance.",
            count=run.number(MODEL, "instance_count", "d", ""),
            type=run.text(MODEL, "instance_type"),
            reason=run.text(MODEL, "instance_reason"),
            seconds=run.number(MODEL, "seconds", ".1f", "s"),
            billed=run.number(MODEL, "billable_seconds", ".0f", "s"),
        ),
    )


def _instances(runs: Sequence[Sources]) -> Paragraph:
    title, first = "What several instances did", runs[0]
    others = [run for run in runs[1:] if _is_comparable(first, run)]
    if not others:
        why = "no other run of the same data and backbone on another number of instances was given."
        return paragraph(title, sentence(f"Nothing is claimed about a speed-up: {why}"))
    return paragraph(title, *(_beside(first, other) for other in others))


def _is_comparable(first: Sources, other: Sources) -> bool:
    same = all(first.value(MODEL, key) == other.value(MODEL, key) for key in ("data_digest", "backbone"))
    return same and first.value(MODEL, "instance_count") != other.value(MODEL, "instance_count")


def _beside(first: Sources, other: Sources) -> tuple[Part, ...]:
    is_same = first.value(MODEL, "test_accuracy") == other.value(MODEL, "test_accuracy")
    ratio = other.value(MODEL, "seconds") / max(first.value(MODEL, "seconds"), 1e-9)
    word = "the same accuracy" if is_same else "another accuracy"
    return sentence(
        f"With {{other_count}} instead of {{count}} the job took {{other_seconds}} instead of {{seconds}}, {{ratio}} "
        f"as long, with {word} ({{other_accuracy}} and {{accuracy}}).",
        other_count=other.number(MODEL, "instance_count", "d", ""),
        count=first.number(MODEL, "instance_count", "d", ""),
        other_seconds=other.number(MODEL, "seconds", ".1f", "s"),
        seconds=first.number(MODEL, "seconds", ".1f", "s"),
        ratio=other.computed(f"{ratio:.2f} times", f"ratio to run {first.run.id}", (MODEL, "seconds")),
        other_accuracy=other.number(MODEL, "test_accuracy", ".4f", ""),
        accuracy=first.number(MODEL, "test_accuracy", ".4f", ""),
    )


def _ec2(run: Sources) -> Paragraph:
    title = "Why this EC2 instance, and how its code differs"
    if not run.has(EC2):
        return paragraph(title, sentence("This run did not train on EC2."))
    told = [
        sentence(
            "Over SSH the same code trained on {count} × {type}: {reason}. It took {seconds} in all, with "
            "{interruptions} interruptions.",
            count=run.number(EC2, "instance_count", "d", ""),
            type=run.text(EC2, "instance_type"),
            reason=run.text(EC2, "instance_reason"),
            seconds=run.number(EC2, "wall_seconds", ".1f", "s"),
            interruptions=run.number(EC2, "interruptions", "d", ""),
        )
    ]
    if run.has(PARITY):
        told.append(sentence("Compared with SageMaker's: {verdict}.", verdict=run.text(PARITY, "verdict")))
        rows = [each["what"] for each in run.value(PARITY, "environment")]
        if rows:
            told.append(_difference(run, rows[0]))
    return paragraph(title, *told)


def _difference(run: Sources, what: str) -> tuple[Part, ...]:
    key = f"environment[what={what}]"
    return sentence(
        "The training script is the same file; what is around it differs, for instance the {what}: {sagemaker} on "
        "SageMaker, {ec2} on EC2.",
        what=run.text(PARITY, f"{key}.what"),
        sagemaker=run.text(PARITY, f"{key}.sagemaker"),
        ec2=run.text(PARITY, f"{key}.ec2"),
    )


def _function(run: Sources) -> Paragraph:
    title = "How the function works, and what it answers"
    if not run.has(SMOKE):
        return paragraph(title, sentence("This run deployed no function."))
    is_right = run.value(SMOKE, "true_label") == run.value(SMOKE, "predicted_label")
    judged = "which is right" if is_right else "which is wrong"
    return paragraph(
        title,
        sentence(
            "The Lambda function takes a photo or its address, has the endpoint {endpoint} classify it, and returns "
            "the score of each class; it needs nothing but Python's standard library.",
            endpoint=run.text(ENDPOINT, "name"),
        ),
        sentence(
            f"For a photo of the test split, of the class {{true}}, it answered {{predicted}} with a score of "
            f"{{score}}, {judged}, and the scores of {{labels}} in all, after {{ms}}.",
            true=run.text(SMOKE, "true_label"),
            predicted=run.text(SMOKE, "predicted_label"),
            score=run.number(SMOKE, "score", ".4f", ""),
            labels=run.number(SMOKE, "labels", "d", "classes"),
            ms=run.number(SMOKE, "latency_ms", ".1f", "ms"),
        ),
    )


def _security(run: Sources) -> Paragraph:
    title = "Security"
    if not run.has(PERMISSIONS):
        return paragraph(title, sentence("What the run's roles used was not recorded."))
    told = [
        sentence(
            "Each part has a role of its own. Together they were granted {granted} actions, of which {used} were seen "
            "in use and {unused} were not needed ({source}).",
            granted=run.count(PERMISSIONS, "rows"),
            used=run.count(PERMISSIONS, "rows", state="used"),
            unused=run.count(PERMISSIONS, "rows", state="unused"),
            source=run.text(PERMISSIONS, "source"),
        )
    ]
    if run.has(AUDIT):
        found = run.count(AUDIT, "findings")
        told.append(sentence("The audit of the account has {found} findings.", found=found))
    return paragraph(title, *told)


def _concurrency(run: Sources) -> Paragraph:
    return _chosen(run, "Concurrency", ("function_memory", "reserved_concurrency", "provisioned_concurrency"))


def _autoscaling(run: Sources) -> Paragraph:
    names = ("min_instances", "max_instances", "target_value", "scale_out_cooldown", "scale_in_cooldown")
    return _chosen(run, "Autoscaling", names)


def _chosen(run: Sources, title: str, names: tuple[str, ...]) -> Paragraph:
    if not run.has(SCALING):
        return paragraph(title, sentence("No scaling plan was made in this run."))
    return paragraph(title, *(_number(run, name) for name in names if run.has(SCALING, f"plan.choices[name={name}]")))


def _number(run: Sources, name: str) -> tuple[Part, ...]:
    key = f"plan.choices[name={name}]"
    value, unit = run.value(SCALING, f"{key}.value"), run.value(SCALING, f"{key}.unit")
    passed, judged = _verdicts(run, name)
    return sentence(
        "{name} is {value}: {reason} ({passed} of {judged} predictions held).",
        name=run.text(SCALING, f"{key}.name"),
        value=run.computed(format_amount(value, unit), "amount", (SCALING, f"{key}.value"), (SCALING, f"{key}.unit")),
        reason=run.text(SCALING, f"{key}.reason"),
        passed=passed,
        judged=judged,
    )


def _verdicts(run: Sources, name: str) -> tuple[Citation, Citation]:
    return (
        run.count(SCALING, "verdicts", choice=name, state="PASS"),
        run.count(SCALING, "verdicts", choice=name),
    )


def _load(run: Sources) -> Paragraph:
    title = "The load test's evidence"
    way = next(iter(run.value(SCALING, "reports")), None) if run.has(SCALING) else None
    if way is None:
        return paragraph(title, sentence("No load test judged a plan in this run."))
    told = [
        sentence(
            "Locust sent {requests} for {seconds} through the {through}, of which {answered} were answered "
            "(Locust's own page: {page}).",
            requests=run.number(SCALING, f"reports.{way}.requests", ",", "requests"),
            seconds=run.number(SCALING, f"reports.{way}.seconds", ".0f", "s"),
            through=run.text(SCALING, "through"),
            answered=run.number(SCALING, f"reports.{way}.answered", ",", "requests"),
            page=_locusts_page(run, f"reports.{way}.files.html"),
        ),
        sentence(
            "Of {all} predictions of the plan {passed} held, {failed} failed, and {open} could not be judged.",
            all=run.count(SCALING, "verdicts"),
            passed=run.count(SCALING, "verdicts", state="PASS"),
            failed=run.count(SCALING, "verdicts", state="FAIL"),
            open=run.count(SCALING, "verdicts", state="INCONCLUSIVE"),
        ),
    ]
    if run.has(SCALING, f"reports.{way}.p95_ms"):
        told.append(
            sentence(
                "The p95 of the answers was {p95}, measured from the moment at which each request was due.",
                p95=run.number(SCALING, f"reports.{way}.p95_ms", ".1f", "ms"),
            )
        )
    return paragraph(title, *told)


def _locusts_page(run: Sources, key: str) -> Citation:
    """Cite the path of Locust's page in the run's folder, which may have been moved since."""
    inside = run.run.inside(str(run.value(SCALING, key)))
    return run.computed(inside.as_posix(), "path in the run's folder", (SCALING, key))


def _cost(run: Sources) -> Paragraph:
    told = list(_trainings(run))
    if run.has(SCALING, "plan.monthly_cost_usd"):
        usd, key = run.value(SCALING, "plan.monthly_cost_usd"), (SCALING, "plan.monthly_cost_usd")
        told.append(
            sentence(
                "Serving as planned costs {month} a month, {hour} an hour ({prices}).",
                month=run.number(*key, ",.2f", "USD"),
                hour=run.computed(f"{usd / HOURS_A_MONTH:.3f} USD", "share of an hour", key),
                prices=run.text(SCALING, "plan.prices"),
            )
        )
    return paragraph("What it costs", *told) if told else paragraph("What it costs", sentence("No price is known."))


def _trainings(run: Sources) -> Iterator[tuple[Part, ...]]:
    for file, where in ((MODEL, "SageMaker"), (EC2, "EC2")):
        if run.has(file, "cost_usd"):
            yield sentence(
                f"The training on {where} costs {{usd}} at list price.", usd=run.number(file, "cost_usd", ".4f", "USD")
            )

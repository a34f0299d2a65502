"""The paragraphs about what serves: the function and its answer, roles, concurrency, autoscaling, load and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tasks.scaling.choice import format_amount
from tasks.scaling.prices import HOURS_A_MONTH
from tasks.writeup.prose import Paragraph, Part, paragraph, sentence
from tasks.writeup.sources import Citation, Sources
from tasks.writeup.trained import EC2, MODEL

ENDPOINT, SMOKE, SCALING = "endpoint.json", "smoke.json", "scaling.json"
PERMISSIONS, AUDIT, PIPELINE = "permissions.json", "audit.json", "pipeline.json"
MOST_SCORES, FIRST_SCORES = 12, 5
"""How many scores a paragraph takes; of more, the highest ones, and the appendix has all."""
LEAST_SCORE = 0.0001
"""What a score is rounded to; a smaller one is said to be smaller."""
MOST_FINDINGS = 3
"""How many of an audit's findings a paragraph names."""

CONCURRENCY = {
    "function_memory": "The function has {value} of memory, because {reason}.",
    "reserved_concurrency": "Reserved for it: {value}, because {reason}.",
    "provisioned_concurrency": "Provisioned, which means kept ready: {value}, because {reason}.",
}
AUTOSCALING = {
    "min_instances": "The endpoint has {value} at least, because {reason}.",
    "max_instances": "It has {value} at most, because {reason}.",
    "target_value": "Between them it follows a target of {value}, because {reason}.",
    "scale_out_cooldown": "After adding instances it waits {value} before it adds more, because {reason}.",
    "scale_in_cooldown": "After removing some it waits {value}, because {reason}.",
}
"""A sentence for each number of the plan, by the name of its choice."""


def function(run: Sources) -> Paragraph:
    """Return how the function works, and what it answered to the test event."""
    title = "How the function works, and what it answers"
    if not run.has(SMOKE):
        return paragraph(title, sentence("This run deployed no function."))
    return paragraph(
        title,
        sentence(
            "The Lambda function is a handler in plain Python: its standard library is enough, because importing an "
            "AWS SDK would slow every cold start. It takes an event with a photo, or with the address of one on a host "
            "that was allowed; has the endpoint {endpoint} classify it; and returns the score of each class and the "
            "best five of them, or an error with a status that says whose fault it is.",
            endpoint=run.text(ENDPOINT, "name"),
        ),
        *_answer(run),
    )


def _answer(run: Sources) -> Iterator[tuple[Part, ...]]:
    judged = "right" if run.value(SMOKE, "true_label") == run.value(SMOKE, "predicted_label") else "wrong"
    yield sentence(
        "The test event holds a photo of the test split, {image} of class {true}, so that no internet is needed. The "
        f"answer came after {{ms}}: {{predicted}} with a score of {{score}}, which is {judged}.",
        image=run.text(SMOKE, "image"),
        true=run.text(SMOKE, "true_label"),
        ms=run.number(SMOKE, "latency_ms", ".0f", "ms"),
        predicted=run.text(SMOKE, "predicted_label"),
        score=run.number(SMOKE, "score", ".4f", ""),
    )
    scores = scores_of(run)
    if not scores:
        yield sentence("The record of this run has no other score.")
    elif len(scores) <= MOST_SCORES:
        yield sentence("All {labels} and their scores: {scores}.", labels=_labels(run), scores=cited_scores(run))
    else:
        first = cited_scores(run, FIRST_SCORES)
        yield sentence("The highest of {labels} are {scores}; the appendix has all.", labels=_labels(run), scores=first)


def _labels(run: Sources) -> Citation:
    return run.number(SMOKE, "labels", "d", "classes")


def scores_of(run: Sources) -> Mapping[str, float]:
    """Return the score of each class in the answer to the test event, the highest first."""
    found: Mapping[str, float] = run.value(SMOKE, "scores") if run.has(SMOKE, "scores") else {}
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def cited_scores(run: Sources, most: int | None = None) -> Citation:
    """Cite the scores, or the highest of them.

    Raises:
        StageFailed: the record has none.
    """
    shown = [f"{label} {_score(score)}" for label, score in list(scores_of(run).items())[:most]]
    return run.computed(", ".join(shown), "sorted", (SMOKE, "scores"))


def _score(score: float) -> str:
    return f"{score:.4f}" if score >= LEAST_SCORE / 2 else f"< {LEAST_SCORE}"


def security(run: Sources) -> Paragraph:
    """Return which roles there are, what they were granted and used, what was found and what was mended."""
    title = "Security"
    if not run.has(PERMISSIONS):
        return paragraph(title, sentence("What the run's roles used was not recorded."), *_audited(run))
    rows = run.value(PERMISSIONS, "rows")
    roles = sorted({row["role"].removeprefix(f"kennel-{run.run.id}-") for row in rows})
    return paragraph(
        title,
        sentence(
            "Each part of the run has an IAM role of its own ({roles}), which reaches the run's own objects, log "
            "groups and endpoint, and nothing else.",
            roles=run.computed(", ".join(roles), "roles", (PERMISSIONS, "rows")),
        ),
        sentence(
            "Together the roles were granted {granted} actions. {used} of them were seen in use ({source}); {kept} are "
            "needed on AWS only, as AWS documents, and are kept.",
            granted=run.count(PERMISSIONS, "rows"),
            used=run.count(PERMISSIONS, "rows", state="used"),
            source=run.text(PERMISSIONS, "source"),
            kept=run.count(PERMISSIONS, "rows", state="not exercised"),
        ),
        *_found(run, rows),
        *_audited(run),
    )


def _found(run: Sources, rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[Part, ...]]:
    told = {
        "unused": "Found: {which} was granted and never used; nothing took it away yet.",
        "denied": "Found: {which} was asked for and denied.",
        "taken away": "Found and mended: {which} was granted and never used, so it was taken away, and a smoke test "
        "and a load test passed without it.",
    }
    found = {state: [row for row in rows if row["state"] == state] for state in ("unused", "denied")}
    found["taken away"] = run.value(PERMISSIONS, "taken_away") if run.has(PERMISSIONS, "taken_away") else []
    for state, actions in found.items():
        if actions:
            which = ", ".join(f"{each['action']} of {each['role']}" for each in actions)
            key = "taken_away" if state == "taken away" else "rows"
            yield sentence(told[state], which=run.computed(which, state, (PERMISSIONS, key)))
    if not any(found.values()):
        yield sentence("Nothing had to be mended: no granted action was found unneeded, and no call was denied.")


def _audited(run: Sources) -> Iterator[tuple[Part, ...]]:
    if not run.has(AUDIT):
        return
    found = run.value(AUDIT, "findings")
    looked = {
        "identities": run.computed(str(run.value(AUDIT, "identities")), "number", (AUDIT, "identities")),
        "count": run.count(AUDIT, "findings"),
    }
    about = "An audit of the whole account looked at {identities} roles, users and groups and has {count} findings"
    if not found:
        yield sentence(f"{about}.", **looked)
        return
    shown = "; ".join(f"{each['severity']}: {each['name']}, {each['evidence']}" for each in found[:MOST_FINDINGS])
    worst = run.computed(shown, "the most severe", (AUDIT, "findings"))
    yield sentence(f"{about}, each with the command that mends it; the most severe: {{worst}}.", **looked, worst=worst)


def concurrency(run: Sources) -> Paragraph:
    """Return the traffic that the plan is for, and each number of the function's concurrency with its reason."""
    return _chosen(run, "Concurrency", CONCURRENCY, _traffic)


def autoscaling(run: Sources) -> Paragraph:
    """Return what one instance carries, and each number of the endpoint's autoscaling with its reason."""
    return _chosen(run, "Autoscaling", AUTOSCALING, _carried)


def _traffic(run: Sources) -> tuple[Part, ...]:
    names = {"baseline": "baseline_rps", "peak": "peak_rps", "spike": "spike_rps"}
    return sentence(
        "The plan is for {baseline} most of the time, {peak} at the peak and {spike} in a spike, with a p95 of at most "
        "{slo}, its objective (SLO).",
        slo=run.number(SCALING, "plan.traffic.slo_p95_ms", "g", "ms"),
        **{name: run.number(SCALING, f"plan.traffic.{key}", "g", "requests/s") for name, key in names.items()},
    )


def _carried(run: Sources) -> tuple[Part, ...]:
    key = "plan.measured.max_rps_per_instance.value"
    return sentence(
        "A series of rising rates showed that one instance of the endpoint carries {rps} (MAX_RPS).",
        rps=run.computed(f"{run.value(SCALING, key):g} requests/s", "rate", (SCALING, key)),
    )


def _chosen(
    run: Sources, title: str, told: Mapping[str, str], first: Callable[[Sources], tuple[Part, ...]]
) -> Paragraph:
    if not run.has(SCALING):
        return paragraph(title, sentence("No scaling plan was made in this run."))
    names = [name for name in told if run.has(SCALING, f"plan.choices[name={name}]")]
    return paragraph(
        title,
        first(run),
        *(_number(run, name, told[name]) for name in names),
        _judged(run, names),
    )


def _judged(run: Sources, names: Sequence[str]) -> tuple[Part, ...]:
    """Return what the load test says of the predictions that follow from some numbers of the plan."""
    states = [each["state"] for each in run.value(SCALING, "verdicts") if each["choice"] in names]
    about, of = f"about {', '.join(names)}", (SCALING, "verdicts")

    def cited(count: int, which: str) -> Citation:
        return run.computed(str(count), f"number {which}{about}", of)

    if states and states.count("PASS") == len(states):
        return sentence("All {count} predictions that follow from these numbers held.", count=cited(len(states), ""))
    return sentence(
        "Of {count} predictions that follow from these numbers {held} held, {failed} failed, and {open} could not be "
        "judged.",
        count=cited(len(states), ""),
        held=cited(states.count("PASS"), "PASS "),
        failed=cited(states.count("FAIL"), "FAIL "),
        open=cited(states.count("INCONCLUSIVE"), "INCONCLUSIVE "),
    )


def _number(run: Sources, name: str, told: str) -> tuple[Part, ...]:
    key = f"plan.choices[name={name}]"
    value, unit = run.value(SCALING, f"{key}.value"), run.value(SCALING, f"{key}.unit")
    amount = run.computed(format_amount(value, unit), "amount", (SCALING, f"{key}.value"), (SCALING, f"{key}.unit"))
    return sentence(told, value=amount, reason=run.text(SCALING, f"{key}.reason"))


def load(run: Sources) -> Paragraph:
    """Return what Locust sent, what was answered how fast, and what the plan's predictions came to."""
    title = "The load test's evidence"
    way = next(iter(run.value(SCALING, "reports")), None) if run.has(SCALING) else None
    if way is None:
        return paragraph(title, sentence("No load test judged a plan in this run."))
    report = f"reports.{way}"
    told = [
        sentence(
            "Locust sent {requests} for {seconds} through the {through}, first at the baseline, then at the peak, a "
            "spike and the baseline again; {answered} were answered (Locust's page: {page}).",
            requests=run.number(SCALING, f"{report}.requests", ",", "requests"),
            seconds=run.number(SCALING, f"{report}.seconds", ".0f", "s"),
            through=run.text(SCALING, "through"),
            answered=run.number(SCALING, f"{report}.answered", ",", "requests"),
            page=_locusts_page(run, f"{report}.files.html"),
        )
    ]
    if run.has(SCALING, f"{report}.p95_ms"):
        told.append(
            sentence(
                "Half of the answers came within {p50}, and the p95 is {p95}, measured from the moment at which each "
                "request was due.",
                p50=run.number(SCALING, f"{report}.p50_ms", ".0f", "ms"),
                p95=run.number(SCALING, f"{report}.p95_ms", ".0f", "ms"),
            )
        )
    told.append(
        sentence(
            "Of {all} predictions of the plan {passed} held, {failed} failed, and {open} could not be judged.",
            all=run.count(SCALING, "verdicts"),
            passed=run.count(SCALING, "verdicts", state="PASS"),
            failed=run.count(SCALING, "verdicts", state="FAIL"),
            open=run.count(SCALING, "verdicts", state="INCONCLUSIVE"),
        )
    )
    return paragraph(title, *told, *_why_open(run), *_scaled_out(run))


def _why_open(run: Sources) -> Iterator[tuple[Part, ...]]:
    if run.has(PIPELINE, "inconclusive") and run.value(PIPELINE, "inconclusive"):
        yield sentence("Why some could not: {why}.", why=run.text(PIPELINE, "inconclusive"))


def _scaled_out(run: Sources) -> Iterator[tuple[Part, ...]]:
    key = "verdicts[name=lag_total]"
    if run.has(SCALING, f"{key}.observed"):
        yield sentence(
            "When the rate rose, the first added instance was in service after {seconds} of AWS's time, which runs "
            "{scale} times as fast as ours in this run.",
            seconds=run.number(SCALING, f"{key}.observed", ".0f", "s"),
            scale=run.computed(
                f"{run.value(SCALING, 'plan.measured.time_scale'):g}", "scale", (SCALING, "plan.measured.time_scale")
            ),
        )


def _locusts_page(run: Sources, key: str) -> Citation:
    """Cite the path of Locust's page in the run's folder, which may have been moved since."""
    inside = run.run.inside(str(run.value(SCALING, key)))
    return run.computed(inside.as_posix(), "path in the run's folder", (SCALING, key))


def cost(run: Sources) -> Paragraph:
    """Return what the trainings and the serving cost."""
    told = list(_trainings(run))
    if run.has(SCALING, "plan.monthly_cost_usd"):
        usd, key = run.value(SCALING, "plan.monthly_cost_usd"), (SCALING, "plan.monthly_cost_usd")
        told.append(
            sentence(
                "Serving as planned costs {month} a month, which is {hour} an hour. Prices: {prices}.",
                month=run.number(*key, ",.2f", "USD"),
                hour=run.computed(f"{usd / HOURS_A_MONTH:.3f} USD", "share of an hour", key),
                prices=run.text(SCALING, "plan.prices"),
            )
        )
    return paragraph("What it costs", *told) if told else paragraph("What it costs", sentence("No price is known."))


def _trainings(run: Sources) -> Iterator[tuple[Part, ...]]:
    known = {where: run.has(file, "cost_usd") for file, where in ((MODEL, "SageMaker"), (EC2, "EC2"))}
    priced = [f"{{{where}}} on {where}" for where, is_known in known.items() if is_known]
    if priced:
        files = {"SageMaker": MODEL, "EC2": EC2}
        usd = {where: run.number(files[where], "cost_usd", ".4f", "USD") for where in known if known[where]}
        yield sentence(f"At list price, the training costs {' and '.join(priced)}.", **usd)

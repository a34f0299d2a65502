"""Shows a plan as lines of at most 80 columns: what is created, on which machines, and what it costs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tasks.plan.costs import NOT_COUNTED, Cost, Usd
from tasks.plan.machines import Candidate, Machines
from tasks.plan.plan import RunPlan
from tasks.run.escaping import terminal_text

WIDTH = 80
LABEL = 15
UNKNOWN = "unknown"


def plan_lines(plan: RunPlan) -> list[str]:
    """Return the plan's lines."""
    every = [*_head(plan), "", *_resources(plan), "", *_machines(plan), "", *_costs(plan), "", *_after(plan)]
    return [terminal_text(line) for line in every]


def amount(usd: float | None) -> str:
    """Return an amount with enough digits to tell it from 0; "unknown" for None."""
    if usd is None:
        return UNKNOWN
    return f"{usd:,.2f}" if usd >= 1 else f"{usd:.4f}" if usd >= 0.0001 else f"{usd:.7f}"


def amounts(usd: Usd | None) -> str:
    """Return the least and the most of what something costs, "unknown" for None."""
    if usd is None:
        return UNKNOWN
    low, high = amount(usd.least), amount(usd.most)
    return low if low == high else f"{low} to {high}"


def _head(plan: RunPlan) -> Iterator[str]:
    yield f"kennel plan {plan.run_id}: account {plan.account_id}, {plan.region}"
    counts = (f"{plan.count(action)} to {action}" for action in ("create", "adopt", "replace", "refuse"))
    yield f"{', '.join(text for text in counts if not text.startswith('0 '))}; nothing was created or changed"
    if not plan.is_billed:
        yield "The embedded AWS bills nothing. The prices below are what AWS would bill."


def _resources(plan: RunPlan) -> Iterator[str]:
    stage = ""
    for number, step in enumerate(plan.steps, 1):
        each, note = step.resource, step.note or step.resource.note
        if each.stage != stage:
            stage = each.stage
            yield stage
        name = each.name.split("/", 3)[3] if each.kind == "s3-prefix" else each.name
        head, shown = f"{number:3} {step.action:8}{each.kind:17} ", name + (f" ({note})" if note else "")
        if len(head) + len(name) > WIDTH:
            yield head.rstrip()
            head = " " * 12
        yield from _wrapped(head, shown)


def _machines(plan: RunPlan) -> Iterator[str]:
    yield f"{'machines':{LABEL}}{'type':20}{'USD an hour':>12}"
    for machines in plan.machines:
        for candidate in machines.candidates:
            yield _candidate(machines, candidate)
        yield from _wrapped("  why: ", machines.reason)


def _candidate(machines: Machines, candidate: Candidate) -> str:
    is_chosen = candidate is machines.chosen
    label = machines.purpose if is_chosen else ""
    other = "if AWS has no other" if machines.is_fallback else "considered"
    what = f"chosen, {machines.count} ×{' spot' if machines.is_spot else ''}" if is_chosen else other
    usd = amount(candidate.price.usd_per_hour)
    return f"{label:{LABEL}}{candidate.item.instance_type:20}{usd:>12}  {what}"


def _costs(plan: RunPlan) -> Iterator[str]:
    yield f"{'costs':32}{'USD an hour':>12}{'USD in this run':>22}"
    for cost in plan.costs:
        yield from _cost(cost)
    likely = "" if plan.usd is None or plan.usd.likely is None else f"  likely {amount(plan.usd.likely)}"
    yield f"{'total':44}{amounts(plan.usd):>22}{likely}"
    if plan.unknown:
        yield from _wrapped("  unknown: ", "; ".join(plan.unknown))


def _cost(cost: Cost) -> Iterator[str]:
    hourly = "by use" if cost.usd_per_hour is None and cost.what.startswith("function") else amount(cost.usd_per_hour)
    yield f"{cost.what:32}{hourly:>12}{amounts(cost.usd):>22}"
    yield from _wrapped("  ", f"{cost.basis}; {cost.ends}")


def _after(plan: RunPlan) -> Iterator[str]:
    month = plan.month
    usd = f"{amounts(month.usd)} USD: " if month.usd is not None else ""
    yield from _labelled("a month", f"{usd}{month.text}")
    worst = plan.worst_case
    yield from _labelled(
        "worst case", f"{amount(worst.usd)} USD: {worst.text}" if worst.usd is not None else worst.text
    )
    for source, types in plan.prices.items():
        yield from _labelled("prices", f"{source}: {', '.join(dict.fromkeys(types))}")
    yield from _labelled("not counted", NOT_COUNTED)


def _labelled(label: str, text: str) -> Iterator[str]:
    yield from _wrapped(f"{label:{LABEL}}", text)


def _wrapped(head: str, text: str) -> Iterator[str]:
    """Yield a head and a text, whose further lines are indented below its first; a long word stays whole."""
    hanging = " " * len(head)
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )
    yield from lines or [head]

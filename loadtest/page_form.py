"""What a person types into Locust's page: a rate and seconds for the next Start, in place of the plan's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from loadtest.arrivals import Stage
from loadtest.plan import Plan

MOST = {"rate_per_second": 1_000_000.0, "seconds": 86_400.0}
"""The bounds that a plan has (tasks/load/generator.py)."""

_STYLE = """<style>
.MuiCollapse-root { height: auto !important; visibility: visible !important; }
.MuiFormControl-root:has(input[name=userCount]), .MuiFormControl-root:has(input[name=spawnRate]) { display: none; }
</style>"""
"""Locust folds custom parameters away and shows two fields that a load shape disables; it has no option for either."""


def plan_with(plan: Plan, rate_per_second: float | None, seconds: float | None) -> Plan:
    """Return the plan with one stage of this rate and duration; the plan itself where both are as planned."""
    rate = plan.stages[0].rate_per_second if rate_per_second is None else rate_per_second
    length = plan.measured_seconds if seconds is None else seconds
    if (rate, length) == (plan.stages[0].rate_per_second, plan.measured_seconds):
        return plan
    return replace(plan, stages=(Stage(rate, length, plan.stages[0].name),))


def refuse(form: Mapping[str, str]) -> str | None:
    """Return why a form's numbers cannot be taken, None where they can."""
    for name, most in MOST.items():
        text = form.get(name)
        if text is None:
            continue
        try:
            value = float(text)
        except ValueError:
            return f"{name}: {text!r} is not a number"
        if not (math.isfinite(value) and 0 < value <= most):
            return f"{name}: {text} is not above 0 and at most {most:,.0f}"
    return None


def with_style(page: str) -> str:
    """Return Locust's page with what a person sets at once in sight."""
    return page.replace("</head>", f"{_STYLE}</head>", 1)

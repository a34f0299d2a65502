"""Validate and apply the rate and the duration that a user enters on Locust's page instead of the plan's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from loadtest.arrivals import Stage
from loadtest.plan import Plan

UPPER_LIMITS = {"rate_per_second": 1_000_000.0, "seconds": 86_400.0}
"""The limits that a plan has too (tasks/load/generator.py)."""

_STYLE = """<style>
.MuiCollapse-root { height: auto !important; visibility: visible !important; }
.MuiFormControl-root:has(input[name=userCount]), .MuiFormControl-root:has(input[name=spawnRate]) { display: none; }
</style>"""
"""Locust collapses custom parameters and shows two fields that a load shape disables; no option changes that."""


def plan_from_form(plan: Plan, rate_per_second: float | None, seconds: float | None) -> Plan:
    """Return the plan with a single stage of this rate and duration, or the plan itself if neither was changed."""
    rate = plan.stages[0].rate_per_second if rate_per_second is None else rate_per_second
    length = plan.measured_seconds if seconds is None else seconds
    if (rate, length) == (plan.stages[0].rate_per_second, plan.measured_seconds):
        return plan
    return replace(plan, stages=(Stage(rate, length, plan.stages[0].name),))


def form_error(form: Mapping[str, str]) -> str | None:
    """Return what is wrong with the numbers of a form, or None when they are valid."""
    for name, most in UPPER_LIMITS.items():
        text = form.get(name)
        if text is None:
            continue
        try:
            value = float(text)
        except ValueError:
            return f"{name}={text!r} is not a number"
        if not (math.isfinite(value) and 0 < value <= most):
            return f"{name}={text} is not above 0 and at most {most:,.0f}"
    return None


def add_style(page: str) -> str:
    """Return Locust's page with the fields for rate and duration visible at once."""
    return page.replace("</head>", f"{_STYLE}</head>", 1)

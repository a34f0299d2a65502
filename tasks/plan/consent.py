"""Asks a person for the costs of a plan, and refuses a plan that may cost more than the budget."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from tasks.plan.costs import Usd
from tasks.plan.plan import RunPlan
from tasks.plan.text import amount, amounts
from tasks.run.errors import SpendingRefused
from tasks.run.options import DeployOptions
from tasks.serving.public_url import require_confirmed

WHERE = "costs"


def require_a_way_to_agree(*, yes: bool, is_terminal: bool | None = None) -> None:
    """Return if the costs can be agreed to: by `yes`, or by an answer at the terminal.

    Raises:
        SpendingRefused: there is no terminal to ask at, and `yes` is not given.
    """
    if yes or (sys.stdin.isatty() if is_terminal is None else is_terminal):
        return
    why = "there is no terminal to ask at, and --yes was not given; nothing was made"
    look = "look at the costs by the same command with --plan, then run it with --yes, best with --budget and --ttl"
    raise SpendingRefused(WHERE, "a run on AWS costs money", why, look)


def confirm(plan: RunPlan, *, yes: bool, ask: Callable[[str], str] = input) -> None:
    """Ask whether the run may be made, unless `yes` is given.

    Raises:
        SpendingRefused: the answer is not "yes".
    """
    if yes:
        return
    what = f"this run costs {amounts(plan.usd)} USD, and its endpoint serves until `kennel down`"
    if ask(f"{what}. Type yes to make it: ").strip().lower() != "yes":
        raise SpendingRefused(WHERE, what, "the answer was not yes; nothing was made", "run the same command again")


def confirm_public(
    deploy: DeployOptions, *, ask: Callable[[str], str] = input, is_terminal: bool | None = None
) -> DeployOptions:
    """Return the options with a function URL for anybody confirmed, after asking at the terminal if need be.

    Raises:
        SpendingRefused: it was not confirmed.
    """
    if deploy.public_url == "none" and not deploy.confirm_public:
        question = (
            f"anybody on the internet may run the function at your cost, {deploy.public_concurrency} executions at "
            "once. Type public to make its URL: "
        )
        if not (sys.stdin.isatty() if is_terminal is None else is_terminal) or ask(question).strip() != "public":
            require_confirmed(deploy)
        return deploy.model_copy(update={"confirm_public": True})
    return deploy


def require_within_budget(plan: RunPlan) -> None:
    """Return if the run certainly costs no more than its budget, or if it has none.

    Raises:
        SpendingRefused: it may cost more, or a price is unknown.
    """
    budget, usd = plan.limits.budget_usd, plan.usd
    if budget is None:
        return
    if usd is None:
        what = f"it is not known what run {plan.run_id} costs, and the budget is {amount(budget)} USD"
        why = f"the price of {'; '.join(plan.unknown)} is unknown; nothing was made"
        raise SpendingRefused(WHERE, what, why, "choose types with a known price, or leave --budget out")
    if usd.most > budget:
        raise _above(plan, usd, budget)


def _above(plan: RunPlan, usd: Usd, budget: float) -> SpendingRefused:
    what = f"run {plan.run_id} may cost {amount(usd.most)} USD, and the budget is {amount(budget)} USD"
    parts = ", ".join(f"{each.what} up to {amount(each.usd.most)}" for each in plan.costs if each.usd is not None)
    enough = math.ceil(usd.most * 100) / 100
    cheaper = f"--budget {enough:.2f} or more, a smaller --max-runtime-seconds, or fewer instances"
    return SpendingRefused(WHERE, what, f"{parts}; nothing was made", cheaper)

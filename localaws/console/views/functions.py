"""Functions: versions, aliases, environments provisioned, reserved and in use, throttles, last invocations."""

from collections.abc import Mapping
from typing import Any

from localaws.console.account import Account
from localaws.console.rendering import paged
from localaws.console.views.charts import Chart, Line, drawn, span_since
from localaws.console.views.missing import Missing
from localaws.console.views.scaling import scaled
from localaws.functions.concurrency import Resource, Running
from localaws.functions.metrics import NAMESPACE
from localaws.functions.provisioned import Key, ProvisionedState
from localaws.metrics import MetricName

SUM_SECONDS = 3600  # emulated, over which invocations, errors and throttles are counted


def listed(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the functions, the newest first."""
    page = paged(list(account.functions.values())[::-1], query)
    running, provisioned = account.function_service.concurrency.running(), _provisioned(account)
    page["items"] = [_row(account, each, running, provisioned) for each in page["items"]]
    return {"functions": page}


def one(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a function.

    Raises:
        Missing: there is none of that name.
    """
    name = query.get("name", "")
    entry = account.functions.get(name)
    if entry is None:
        raise Missing(f"function {name}")
    latest, provisioned = entry["latest"], _provisioned(account)
    aliases = account.aliases(latest.function_arn.removesuffix(f":{latest.version}"))
    return {
        "function": latest,
        "variables": sorted(latest.environment_vars or {}),
        "row": _row(account, entry, account.function_service.concurrency.running(), provisioned),
        "versions": entry["versions"][::-1],
        "aliases": list(aliases.values()),
        "provisioned": {key[1]: state for key, state in provisioned.items() if key[0] == name},
        "in_use": _in_use(account, name),
        "scaling": [(each, found) for each in aliases if (found := scaled(account, f"function:{name}:{each}"))],
        "charts": _charts(account, name, latest.created),
        "lines": account.log_lines(f"/aws/lambda/{name}"),
    }


def _row(
    account: Account, entry: Mapping[str, Any], running: Mapping[Resource, Running], provisioned: Mapping[Key, Any]
) -> dict[str, Any]:
    latest = entry["latest"]
    name = latest.function_name
    counted = {each: _sum(account, name, each) for each in ("Invocations", "Errors", "Throttles")}
    return {
        "name": name,
        "runtime": latest.run_time,
        "memory": latest.memory_size,
        "timeout": latest.timeout,
        "versions": len(entry["versions"]),
        "reserved": latest.reserved_concurrency,
        "provisioned": sum(state.available for key, state in provisioned.items() if key[0] == name),
        "requested": sum(state.requested for key, state in provisioned.items() if key[0] == name),
        "running": next((each.of_function for resource, each in running.items() if resource.name == name), 0),
        **counted,
    }


def _in_use(account: Account, name: str) -> list[tuple[str, int]]:
    """Return what was named by callers whose invocations run now, and how many do."""
    running = account.function_service.concurrency.running()
    return [(each.qualifier or "$LATEST", now.of_resource) for each, now in running.items() if each.name == name]


def _provisioned(account: Account) -> dict[Key, ProvisionedState]:
    service = account.function_service
    if service.loop is None or service.loop.is_closed():
        return {}  # nothing was provisioned before the first request
    return service.on_loop(service.provisioner.states)


def _charts(account: Account, name: str, created: float) -> list[dict[str, Any]]:
    span, scale = span_since(account, created), account.core.clock.scale
    charts = (
        Chart(
            "Invocations",
            "a second",
            [
                Line("invocations/s", _metric(name, "Invocations"), "Rate", scale, is_zero_filled=True),
                Line("throttles/s", _metric(name, "Throttles"), "Rate", scale, is_zero_filled=True),
                Line("errors/s", _metric(name, "Errors"), "Rate", scale, is_zero_filled=True),
            ],
        ),
        Chart(
            "Duration", "ms", [Line(each.lower(), _metric(name, "Duration"), each) for each in ("Average", "Maximum")]
        ),
        Chart("Executions at once", "executions", [Line("most", _metric(name, "ConcurrentExecutions"), "Maximum")]),
    )
    return [drawn(account, each, span) for each in charts]


def _sum(account: Account, name: str, metric: str) -> float:
    end = account.core.clock.now()
    found = account.metrics.window(_metric(name, metric), end - SUM_SECONDS, end + 1)
    return found.total if found else 0.0


def _metric(function_name: str, name: str) -> MetricName:
    return MetricName.of(NAMESPACE, name, {"FunctionName": function_name})

"""CloudWatch's alarms and metrics, and the feed of requests."""

from collections.abc import Mapping
from typing import Any

from localaws.console.account import Account
from localaws.console.rendering import paged
from localaws.console.views.charts import Chart, Line, drawn, span_since
from localaws.metrics import MetricName

HISTORY = 20
STATISTICS = ("Average", "Sum", "Minimum", "Maximum", "SampleCount")


def alarms(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the alarms, those in ALARM first, and the history of the one that `name` names."""
    found = sorted(account.alarms, key=lambda each: (each.state_value != "ALARM", each.name))
    chosen = next((each for each in found if each.name == query.get("name")), None)
    history = list(chosen.items)[-HISTORY:][::-1] if chosen else []
    return {"alarms": paged(found, query), "chosen": chosen, "history": history}


def metrics(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the metrics, and a chart of the one that the query names."""
    found = sorted(account.metrics.listed(), key=_order)
    named = {_key(each): each for each in found}
    chosen = named.get((query.get("namespace", ""), query.get("metric", ""), query.get("of", "")))
    statistic = query.get("statistic", "") if query.get("statistic") in STATISTICS else STATISTICS[0]
    chart = _chart(account, chosen, statistic) if chosen else None
    page = paged([(*_key(each), each.name) for each in found], query)
    return {"metrics": page, "chart": chart, "statistics": STATISTICS, "statistic": statistic}


def requests(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the last requests, the newest first; `show` limits it to what was denied or failed."""
    show = query.get("show", "")
    found = account.core.feed.newest()
    if show == "denied":
        found = [each for each in found if "denied" in each.decision]
    elif show == "failed":
        found = [each for each in found if each.status >= 400]
    return {"requests": paged(found, query, 100), "show": show, "mode": account.authority.mode}


def _chart(account: Account, metric: MetricName, statistic: str) -> dict[str, Any]:
    span = span_since(account, account.core.clock.origin)
    units = ", ".join(each.unit for each in account.metrics.of(metric) if each.unit != "None")
    return drawn(account, Chart(metric.name, units or "value", [Line(statistic.lower(), metric, statistic)]), span)


def _key(metric: MetricName) -> tuple[str, str, str]:
    """Return what names a metric in an address: namespace, name, and dimensions as a text."""
    return metric.namespace, metric.name, ", ".join(f"{name}={value}" for name, value in sorted(metric.dimensions))


def _order(metric: MetricName) -> tuple[str, str, str]:
    namespace, name, of = _key(metric)
    return namespace, of, name

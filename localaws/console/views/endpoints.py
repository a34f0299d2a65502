"""Endpoints: variants, instances, what they serve and how fast, and what scales them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import Any

from localaws.console.account import Account
from localaws.console.rendering import paged
from localaws.console.views.charts import Chart, Line, Span, drawn, percentile, span_since
from localaws.console.views.missing import Missing
from localaws.console.views.scaling import Scaled, scaled
from localaws.metrics import MetricName
from localaws.sagemaker.endpoints.metrics import NAMESPACE

RATE_SECONDS, LATENCY_SECONDS = 60, 300  # emulated, over which a rate and percentiles are taken


def listed(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the endpoints, the newest first."""
    page = paged(list(account.sagemaker.endpoints.values())[::-1], query)
    page["items"] = [_row(account, each) for each in page["items"]]
    return {"endpoints": page}


def one(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return an endpoint.

    Raises:
        Missing: there is none of that name.
    """
    name = query.get("name", "")
    endpoint = account.sagemaker.endpoints.get(name)
    if endpoint is None:
        raise Missing(f"endpoint {name}")
    variants = [_variant(account, name, each) for each in account.hosting.variants(name)]
    return {
        "endpoint": endpoint,
        "variants": variants,
        "charts": [chart for each in variants for chart in _charts(account, endpoint, each)],
        "lines": account.log_lines(f"/aws/sagemaker/Endpoints/{name}"),
    }


def _row(account: Account, endpoint: Any) -> dict[str, Any]:
    variants = account.hosting.variants(endpoint.endpoint_name)
    metrics = [_metric(endpoint.endpoint_name, each.plan.name, "Invocations") for each in variants]
    return {
        "name": endpoint.endpoint_name,
        "status": endpoint.endpoint_status,
        "config": endpoint.endpoint_config_name,
        "created": endpoint.creation_time,
        "instances": sum(len(each.fleet.serving) for each in variants),
        "desired": sum(each.desired_count for each in variants),
        "rate": sum(_rate(account, each) for each in metrics),
    }


def _variant(account: Account, endpoint_name: str, variant: Any) -> dict[str, Any]:
    name = variant.plan.name
    latency = percentile(account, _metric(endpoint_name, name, "ModelLatency"), (50, 95, 99), LATENCY_SECONDS)
    return {
        "plan": variant.plan,
        "weight": variant.weight,
        "desired": variant.desired_count,
        "growing": variant.fleet.growing,
        "instances": [
            {"id": instance.identity, "state": state, "outstanding": instance.outstanding, "pid": instance.process.pid}
            for instance, state in variant.fleet.states()
        ],
        "rate": _rate(account, _metric(endpoint_name, name, "Invocations")),
        "errors": _rate(account, _metric(endpoint_name, name, "Invocation5XXErrors")),
        "latency": [None if each is None else each / 1e3 for each in latency],
        "scaling": scaled(account, f"endpoint/{endpoint_name}/variant/{name}"),
    }


def _charts(account: Account, endpoint: Any, variant: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the charts of a variant; scaling activities are marked in each."""
    name, of, scaling = endpoint.endpoint_name, variant["plan"].name, variant["scaling"]
    span = span_since(account, endpoint.creation_time.replace(tzinfo=UTC).timestamp())
    invocations, busy = _metric(name, of, "Invocations"), _metric(name, of, "ConcurrentRequestsPerModel")
    latency, scale = _metric(name, of, "ModelLatency"), account.core.clock.scale
    charts = [
        Chart("Requests", "a second", [Line("requests/s", invocations, "Rate", scale, is_zero_filled=True)]),
        Chart("Latency", "ms", [Line(each.lower(), latency, each, 1e-3) for each in ("Average", "Maximum")]),
        Chart("Instances", "with their limits", [Line("instances", busy, "Counted")], levels=_limits(scaling)),
        Chart("Concurrency", "requests at once an instance", [Line("most", busy, "Maximum")]),
    ]
    marks = [each.started for each in scaling.activities] if scaling else []
    drawings = [drawn(account, replace(each, marks=marks), span) for each in charts]
    return [{**each, "of": of} for each in (*drawings, *_tracked(account, scaling, span, marks))]


def _limits(scaling: Scaled | None) -> list[tuple[str, float]]:
    return [("minimum", scaling.target.minimum), ("maximum", scaling.target.maximum)] if scaling else []


def _tracked(account: Account, scaling: Scaled | None, span: Span, marks: list[float]) -> list[dict[str, Any]]:
    """Return a chart of what each policy tracks, by its alarm's period, with the value that it keeps it at."""
    drawings = []
    for policy in scaling.policies if scaling else ():
        if policy.metric is None or policy.wanted is None:
            continue
        line = Line(policy.statistic.lower(), policy.metric, policy.statistic)
        levels = [("target", policy.wanted)]
        chart = Chart(f"Policy {policy.name}", policy.metric.name, [line], levels, marks)
        drawings.append(drawn(account, chart, replace(span, period=max(span.period, policy.period))))
    return drawings


def _rate(account: Account, metric: MetricName) -> float:
    """Return how often something happened a real second over the last emulated minute."""
    clock = account.core.clock
    end = clock.now()
    start = max(end - RATE_SECONDS, clock.origin)
    found = account.metrics.window(metric, start, end)
    return found.total / (end - start) * clock.scale if found and end > start else 0.0


def _metric(endpoint_name: str, variant_name: str, name: str) -> MetricName:
    return MetricName.of(NAMESPACE, name, {"EndpointName": endpoint_name, "VariantName": variant_name})

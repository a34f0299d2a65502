"""Lambda's metrics in CloudWatch (AWS/Lambda): by function, by alias or version, and over all functions.

Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html and, for concurrency,
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-concurrency.html
"""

from __future__ import annotations

from functools import lru_cache

from localaws.core import Core
from localaws.functions.concurrency import Resource, Running
from localaws.functions.deployment import Execution
from localaws.functions.naming import FunctionName
from localaws.functions.provisioned import Key, ProvisionedState

NAMESPACE = "AWS/Lambda"
Dimensions = dict[str, str]


class FunctionMetrics:
    """Puts data points. Counts are put when an invocation is over, gauges when it starts and while it runs."""

    def __init__(self, core: Core) -> None:
        self._metrics = core.metrics

    def throttled(self, resource: Resource) -> None:
        """A call was refused for want of concurrency; it is not an invocation."""
        self._count(resource, None, "Throttles", 1.0)

    def finished(self, resource: Resource, version: str | None, execution: Execution) -> None:
        """An invocation ran to its end, whatever it was. `version`: what ran, when an alias was invoked."""
        self._count(resource, version, "Invocations", 1.0)
        self._count(resource, version, "Errors", 0.0 if execution.outcome.status == "success" else 1.0)
        self._count(resource, version, "Throttles", 0.0)
        self._count(resource, version, "Duration", execution.duration_ms, "Milliseconds")

    def provisioned_invocation(self, resource: Resource, version: str | None, *, is_spillover: bool) -> None:
        """An invocation of a version with provisioned concurrency ran: in it, or on demand because none was free."""
        name = "ProvisionedConcurrencySpilloverInvocations" if is_spillover else "ProvisionedConcurrencyInvocations"
        self._count(resource, version, name, 1.0)

    def url_answered(self, function: FunctionName, status: int, milliseconds: float) -> None:
        """A request to a function's URL was answered, by the function or without it.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html
        """
        resource = Resource(function.name, function.qualifier)
        self._count(resource, None, "UrlRequestCount", 1.0)
        self._count(resource, None, "Url4xxCount", float(400 <= status < 500))
        self._count(resource, None, "Url5xxCount", float(status >= 500))
        self._count(resource, None, "UrlRequestLatency", milliseconds, "Milliseconds")

    def dropped(self, resource: Resource) -> None:
        """An asynchronous event was given up after its retries."""
        self._count(resource, None, "AsyncEventsDropped", 1.0)

    def running(self, resource: Resource, running: Running) -> None:
        """So many invocations run now."""
        function, specific = _dimensions(resource, None)[1:3]
        self._put("ConcurrentExecutions", running.of_account, {})
        self._put("ConcurrentExecutions", running.of_function, function)
        self._put("ConcurrentExecutions", running.of_resource, specific)
        self._put("UnreservedConcurrentExecutions", running.unreserved, {})

    def provisioned(self, key: Key, state: ProvisionedState) -> None:
        """So many of a version's or alias's provisioned environments are busy now."""
        specific = _dimensions(Resource(*key), None)[2]
        self._put("ProvisionedConcurrentExecutions", state.busy, specific)
        if state.allocated:
            utilization = min(1.0, state.busy / state.allocated)
            self._put("ProvisionedConcurrencyUtilization", utilization, specific)

    def _count(self, resource: Resource, version: str | None, name: str, value: float, unit: str = "Count") -> None:
        for each in _dimensions(resource, version):
            self._metrics.put(NAMESPACE, name, value, each, unit=unit)

    def _put(self, name: str, value: float, dimensions: Dimensions) -> None:
        self._metrics.put(NAMESPACE, name, value, dimensions, unit="Count")


@lru_cache(4096)
def _dimensions(resource: Resource, version: str | None) -> tuple[Dimensions, ...]:
    """Return what a data point is put under: the account, the function, what was invoked, and the version that ran."""
    function = {"FunctionName": resource.name}
    qualified = resource.name if resource.qualifier is None else f"{resource.name}:{resource.qualifier}"
    specific = {**function, "Resource": qualified}
    executed = () if version is None else ({**specific, "ExecutedVersion": version},)
    return {}, function, specific, *executed

"""The CloudWatch metrics of a variant, from its real requests: `AWS/SageMaker` by EndpointName and VariantName.

Those of requests are there by EndpointConfigName too, so that an alarm can watch the new fleet of an update alone.

Requests are counted as they end. The high-resolution ConcurrentRequestsPerModel is taken every ten emulated seconds
from each instance: the most requests that it had at once, queued ones included. A minute without a request has an
InvocationsPerInstance of zero, so that autoscaling gets to see it. CPUUtilization is that of the model servers.

Source of names, units and meanings: docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html, and
deployment-guardrails-configuration.html for EndpointConfigName
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from localaws.metrics import MetricName, Metrics, Series
from localaws.periodic import PERIOD_SECONDS

NAMESPACE = "AWS/SageMaker"
OF_INSTANCES = "/aws/sagemaker/Endpoints"
MICROSECONDS = "Microseconds"


class Measured(Protocol):
    """An instance, as far as it is measured."""

    def take_peak(self) -> int:
        """Return the most requests that were outstanding at once since this was asked last."""

    def take_cpu_percent(self) -> float | None:
        """Return its CPU use since this was asked last, 100 for each core; None the first time."""


class RequestMetrics:
    """Counts requests under one set of dimensions, in about ten microseconds a request."""

    def __init__(self, metrics: Metrics, dimensions: Mapping[str, str]) -> None:
        def series(name: str, unit: str = "None") -> Series:
            return metrics.series(MetricName.of(NAMESPACE, name, dimensions), unit)

        self.per_instance = series("InvocationsPerInstance")
        self._invocations = series("Invocations")
        self._4xx = series("Invocation4XXErrors")
        self._5xx = series("Invocation5XXErrors")
        self._model_errors = series("InvocationModelErrors")
        self._model_latency = series("ModelLatency", MICROSECONDS)
        self._overhead_latency = series("OverheadLatency", MICROSECONDS)

    def record(
        self, second: int, status: int | None, *, instances: int, model_seconds: float, overhead_seconds: float
    ) -> None:
        """Count one request at an emulated second."""
        self._invocations.add(1.0, second)
        if instances:
            self.per_instance.add(1.0 / instances, second)
        self._4xx.add(float(status is not None and 400 <= status < 500), second)
        self._5xx.add(float(status is None or status >= 500), second)
        self._model_errors.add(float(status is None or not 200 <= status < 300), second)
        if status is not None:
            self._model_latency.add(model_seconds * 1e6, second)
            self._overhead_latency.add(overhead_seconds * 1e6, second)


class VariantMetrics:
    """Counts the requests of one variant, and beside it those of its fleet, which runs one endpoint configuration.

    While an update shifts traffic, a variant's values are of its old and its new fleet together.
    """

    def __init__(self, metrics: Metrics, endpoint_name: str, variant_name: str, config_name: str) -> None:
        dimensions = {"EndpointName": endpoint_name, "VariantName": variant_name}
        self._metrics = metrics
        self._variant = RequestMetrics(metrics, dimensions)
        self._fleet = RequestMetrics(metrics, {**dimensions, "EndpointConfigName": config_name})
        self._concurrent = metrics.series(MetricName.of(NAMESPACE, "ConcurrentRequestsPerModel", dimensions))
        self._cpu = metrics.series(MetricName.of(OF_INSTANCES, "CPUUtilization", dimensions), "Percent")

    def record(self, status: int | None, *, instances: int, model_seconds: float, overhead_seconds: float) -> None:
        """Count one request. `status`: the container's, None when it gave none; `instances`: how many took requests."""
        second = self._metrics.second()
        for counted in (self._variant, self._fleet):
            counted.record(
                second,
                status,
                instances=instances,
                model_seconds=model_seconds,
                overhead_seconds=overhead_seconds,
            )

    def take(self, serving: Sequence[Measured], moment: int) -> None:
        """Measure the instances at the end of a period; at the end of a minute, what belongs to the minute."""
        for instance in serving:
            self._concurrent.add(float(instance.take_peak()), moment - PERIOD_SECONDS)
        if moment % 60:
            return
        if serving and self._variant.per_instance.window(moment - 60, moment) is None:
            self._variant.per_instance.add(0.0, moment - 60)
        for instance in serving:
            percent = instance.take_cpu_percent()
            if percent is not None:
                self._cpu.add(percent, moment - 60)

"""The CloudWatch metrics of a variant, from its real requests: `AWS/SageMaker` by EndpointName and VariantName.

Source of names, units and meanings: docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from localaws.metrics import MetricName, Metrics, Series

NAMESPACE = "AWS/SageMaker"
MICROSECONDS = "Microseconds"


class VariantMetrics:
    """Counts one variant's requests, in about ten microseconds a request."""

    def __init__(self, metrics: Metrics, endpoint_name: str, variant_name: str) -> None:
        self._metrics = metrics
        self._dimensions = {"EndpointName": endpoint_name, "VariantName": variant_name}
        self._invocations = self._series("Invocations")
        self._per_instance = self._series("InvocationsPerInstance")
        self._4xx = self._series("Invocation4XXErrors")
        self._5xx = self._series("Invocation5XXErrors")
        self._model_errors = self._series("InvocationModelErrors")
        self._model_latency = self._series("ModelLatency", MICROSECONDS)
        self._overhead_latency = self._series("OverheadLatency", MICROSECONDS)

    def record(self, status: int | None, *, instances: int, model_seconds: float, overhead_seconds: float) -> None:
        """Count one request. `status`: the container's, None when it gave none; `instances`: how many were serving."""
        second = self._metrics.second()
        self._invocations.add(1.0, second)
        if instances:
            self._per_instance.add(1.0 / instances, second)
        self._4xx.add(float(status is not None and 400 <= status < 500), second)
        self._5xx.add(float(status is None or status >= 500), second)
        self._model_errors.add(float(status is None or not 200 <= status < 300), second)
        if status is not None:
            self._model_latency.add(model_seconds * 1e6, second)
            self._overhead_latency.add(overhead_seconds * 1e6, second)

    def _series(self, name: str, unit: str = "None") -> Series:
        return self._metrics.series(MetricName.of(NAMESPACE, name, self._dimensions), unit)

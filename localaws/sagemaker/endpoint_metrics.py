"""The CloudWatch metrics of a variant, from its real requests: `AWS/SageMaker` by EndpointName and VariantName.

Source of names, units and meanings: docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from localaws.metrics import Metrics

NAMESPACE = "AWS/SageMaker"
MICROSECONDS = "Microseconds"


class VariantMetrics:
    """Counts one variant's requests. Cheap: the data points are added up in memory until CloudWatch is asked."""

    def __init__(self, metrics: Metrics, endpoint_name: str, variant_name: str) -> None:
        self._metrics = metrics
        self._dimensions = {"EndpointName": endpoint_name, "VariantName": variant_name}

    def record(self, status: int | None, *, instances: int, model_seconds: float, overhead_seconds: float) -> None:
        """Count one request. `status`: the container's, None when it gave none; `instances`: how many were serving."""
        is_model_error = status is None or not 200 <= status < 300
        self._put("Invocations", 1.0)
        if instances:
            self._put("InvocationsPerInstance", 1.0 / instances)
        self._put("Invocation4XXErrors", float(status is not None and 400 <= status < 500))
        self._put("Invocation5XXErrors", float(status is None or status >= 500))
        self._put("InvocationModelErrors", float(is_model_error))
        if status is not None:
            self._put("ModelLatency", model_seconds * 1e6, MICROSECONDS)
            self._put("OverheadLatency", overhead_seconds * 1e6, MICROSECONDS)

    def _put(self, name: str, value: float, unit: str = "None") -> None:
        self._metrics.put(NAMESPACE, name, value, self._dimensions, unit=unit)

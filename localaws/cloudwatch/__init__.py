"""CloudWatch's metrics and alarms: real statistics in the emulated time, and alarms that are evaluated from them.

`statistics.py` is the backend that takes moto's place, `alarms.py` evaluates alarms every emulated minute by the rules
in `states.py`, `queries.py` and `metric_math.py` answer GetMetricData, and `operations.py` adds what moto's wire
protocol lacks. Not emulated, and refused by name: Metrics Insights. The data points themselves are kept by
`localaws/metrics.py`.
"""

from starlette.routing import BaseRoute

from localaws.core import Core


def install(core: Core) -> list[BaseRoute]:
    """Put this package's backend and operations in the place of moto's."""
    import moto.cloudwatch.models as moto_models

    from localaws.cloudwatch.operations import install_operations
    from localaws.cloudwatch.statistics import ExactCloudWatch

    ExactCloudWatch.core = core
    moto_models.cloudwatch_backends.backend = ExactCloudWatch
    install_operations()
    return []

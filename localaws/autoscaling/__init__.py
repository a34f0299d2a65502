"""Application Auto Scaling that acts on the instance counts of endpoint variants and on provisioned concurrency.

CloudWatch's alarms trigger the policies and are evaluated from the real metrics. The decisions are carried out through
the same operations that a person would call. moto provides the wire protocol; `engine.py` holds the state.
"""

from starlette.routing import BaseRoute

from localaws.core import Core


def install(core: Core) -> list[BaseRoute]:
    """Put the operations in the place of moto's, and have endpoints ask before they change what is scaled."""
    from localaws.autoscaling.engine import Engine
    from localaws.autoscaling.operations import install_operations
    from localaws.autoscaling.scalables import ProvisionedConcurrency, VariantCount
    from localaws.functions import ProvisionedCapacity
    from localaws.sagemaker.endpoints.models import Endpoints

    engine = Engine(core, (VariantCount(core), ProvisionedConcurrency(ProvisionedCapacity(core))))
    Endpoints.autoscaling = engine
    install_operations(engine)
    return []

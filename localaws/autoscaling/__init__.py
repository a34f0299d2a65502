"""Application Auto Scaling that acts: on the instance count of endpoints' variants and on provisioned concurrency.

Policies are triggered by CloudWatch's alarms, which are judged in rounds from the real metrics; what is decided is done
through the same calls as a person's. moto gives the wire, the state is `engine.py`'s.
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

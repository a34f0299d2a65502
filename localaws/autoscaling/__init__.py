"""Application Auto Scaling that acts on the instance counts of endpoint variants and on provisioned concurrency.

CloudWatch's alarms trigger the policies and are evaluated from the real metrics. The decisions are carried out through
the same operations that a person would call. moto provides the wire protocol; `engine.py` holds the state. moto's part
imports its EC2, which takes half a second, so it is put in place before the first request that needs it.
"""

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from localaws.core import Core
from localaws.moto_import import import_ec2

if TYPE_CHECKING:
    from localaws.autoscaling.engine import Engine


def install(core: Core) -> list[BaseRoute]:
    """Put the operations in the place of moto's, and have endpoints ask before they change what is scaled."""
    from localaws.autoscaling.engine import Engine
    from localaws.autoscaling.scalables import ProvisionedConcurrency, VariantCount
    from localaws.functions import ProvisionedCapacity
    from localaws.sagemaker.endpoints.models import Endpoints

    engine = Engine(core, (VariantCount(core), ProvisionedConcurrency(ProvisionedCapacity(core))))
    Endpoints.autoscaling = engine
    core.before_first_request(("application-autoscaling",), lambda: _install_moto_side(engine))
    return []


def _install_moto_side(engine: "Engine") -> None:
    import_ec2()
    from localaws.autoscaling.operations import install_operations

    install_operations(engine)

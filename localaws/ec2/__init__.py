"""EC2 that executes: instances with SSH, user data and instance metadata, over moto's state and wire protocol.

moto's EC2 takes a second to import, so it is put in place before the first request that needs it, not at the start.
"""

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from localaws.core import Core
from localaws.moto_import import import_ec2

if TYPE_CHECKING:
    from localaws.ec2.capacity import Capacity
    from localaws.ec2.machine import Machines

USERS = ("ec2", "ssm", "tagging")  # the services, by signing name, that read moto's EC2


def install(core: Core) -> list[BaseRoute]:
    """Have moto make executing instances, and return the routes that go before moto's."""
    from localaws.ec2.capacity import Capacity
    from localaws.ec2.machine import Machines
    from localaws.ec2.routes import routes

    machines, capacity = Machines(core), Capacity(core.strictness)
    core.before_first_request(USERS, lambda: _install_moto_side(core, machines, capacity))
    return routes(core, capacity)


def _install_moto_side(core: Core, machines: "Machines", capacity: "Capacity") -> None:
    import_ec2()
    from localaws.ec2.backend import install_backend
    from localaws.ec2.parameters import install_parameters
    from localaws.ec2.responses import install_responses

    install_backend(core, machines, capacity)
    install_parameters()
    install_responses()

"""Lambda that executes: functions as real `awslambdaric` processes, over moto's control plane.

`install` puts the executing backend and its responses in moto's place and returns the routes of the data plane, which
moto never sees. `ProvisionedCapacity` is what Application Auto Scaling scales. Not emulated, and refused by name:
images, layers, VPC, arm64, event source mappings, destinations, response streaming.
"""

import shutil
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute

from localaws.core import Core
from localaws.functions.scaling import ProvisionedCapacity

if TYPE_CHECKING:
    from localaws.functions.naming import FunctionName
    from localaws.functions.requests import Target

__all__ = ["ProvisionedCapacity", "install"]


def install(core: Core) -> list[BaseRoute]:
    """Have moto make executing functions, and return the routes that go before moto's."""
    import moto.awslambda.models as moto_models
    import moto.awslambda.urls as moto_urls

    from localaws.functions.backend import ExecutingLambda
    from localaws.functions.front import Front
    from localaws.functions.responses import ExecutingLambdaResponse
    from localaws.functions.service import FunctionService
    from localaws.functions.url_front import UrlFront

    shutil.rmtree(core.settings.home / "functions", ignore_errors=True)  # moto's state does not outlive a server
    service = FunctionService(core)
    ExecutingLambda.service = service
    moto_models.lambda_backends.backend = ExecutingLambda
    urls: dict[str, Any] = moto_urls.url_paths
    patterns = [*urls, r"{0}/(?P<api_version>20\d\d-\d\d-\d\d)/(?P<operation_path>.+)$"]
    urls.update(dict.fromkeys(patterns, ExecutingLambdaResponse.dispatch))
    functions = _Functions(core)
    return [*Front(service, functions).routes(), UrlFront(service, functions)]


class _Functions:
    """The functions of the server's account and region, looked up when they are asked for."""

    def __init__(self, core: Core) -> None:
        self._settings = core.settings

    def resolve(self, name: "FunctionName") -> "Target":
        from moto.awslambda.models import lambda_backends

        backend: Any = lambda_backends[self._settings.account_id][self._settings.region]
        target: Target = backend.resolve(name)
        return target

"""SageMaker that executes: training jobs and endpoints as processes, over moto's state and wire protocol."""

from starlette.routing import BaseRoute

from localaws.core import Core


def install(core: Core) -> list[BaseRoute]:
    """Put the executing backend in moto's place and return the routes that go before moto's."""
    from localaws.sagemaker.backend import install_backend
    from localaws.sagemaker.endpoints.models import install_endpoints
    from localaws.sagemaker.notebook_operations import install_notebooks
    from localaws.sagemaker.training.operations import install_training

    install_backend()
    install_notebooks(core)
    return [*install_training(core), *install_endpoints(core)]

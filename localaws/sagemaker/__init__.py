"""SageMaker that executes, over moto's state and wire protocol: training jobs, tuning jobs, endpoints."""

from starlette.routing import BaseRoute

from localaws.core import Core


def install(core: Core) -> list[BaseRoute]:
    """Put the executing backend in moto's place and return the routes that go before moto's."""
    from localaws.sagemaker.backend import install_backend
    from localaws.sagemaker.endpoints.models import install_endpoints
    from localaws.sagemaker.notebook_operations import install_notebooks
    from localaws.sagemaker.training.operations import install_training
    from localaws.sagemaker.tuning.operations import install_tuning

    install_backend()
    install_notebooks(core)
    routes = [*install_training(core), *install_endpoints(core)]
    install_tuning(core)
    return routes

"""SageMaker that executes, over moto's state and wire protocol: training, tuning and processing jobs, endpoints."""

from starlette.routing import BaseRoute

from localaws.core import Core


def install(core: Core) -> list[BaseRoute]:
    """Put the executing backend in moto's place and return the routes that go before moto's."""
    from localaws.sagemaker.backend import install_backend
    from localaws.sagemaker.endpoints.models import install_endpoints
    from localaws.sagemaker.jobs.isolation import Isolation
    from localaws.sagemaker.notebook_operations import install_notebooks
    from localaws.sagemaker.processing.operations import install_processing
    from localaws.sagemaker.training.operations import install_training
    from localaws.sagemaker.tuning.operations import install_tuning

    install_backend()
    install_notebooks(core)
    isolation = Isolation(core)
    routes = [*install_training(core, isolation), *install_endpoints(core)]
    install_processing(core, isolation)
    install_tuning(core)
    return routes

"""Training jobs: nothing executes yet."""

from starlette.routing import BaseRoute

from localaws.core import Core


class TrainingJobs:
    """Overrides moto's training job operations."""


def install_training(core: Core) -> list[BaseRoute]:
    """Return no routes."""
    return []

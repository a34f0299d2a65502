"""Endpoints: nothing executes yet."""

from starlette.routing import BaseRoute

from localaws.core import Core


class Endpoints:
    """Overrides moto's endpoint operations."""


def install_endpoints(core: Core) -> list[BaseRoute]:
    """Return no routes."""
    return []

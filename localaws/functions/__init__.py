"""Lambda: nothing executes yet."""

from starlette.routing import BaseRoute

from localaws.core import Core


def install(core: Core) -> list[BaseRoute]:
    """Return no routes."""
    return []

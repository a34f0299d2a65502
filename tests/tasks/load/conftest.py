"""The server and the picture of the load generator's own tests."""

from tests.loadtest.conftest import image, server

__all__ = ["image", "server"]

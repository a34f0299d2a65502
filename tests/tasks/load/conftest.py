"""Provides the server and the image of the load generator's tests."""

from tests.loadtest.conftest import image, server

__all__ = ["image", "server"]

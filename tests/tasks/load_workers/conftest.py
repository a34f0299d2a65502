"""Provides the image that the load tests send."""

from tests.loadtest.conftest import image

__all__ = ["image"]

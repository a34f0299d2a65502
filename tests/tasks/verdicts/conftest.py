"""Provides the image that the load generator's tests send."""

from tests.loadtest.conftest import image

__all__ = ["image"]

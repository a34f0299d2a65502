"""The picture that the load generator's own tests send."""

from tests.loadtest.conftest import image

__all__ = ["image"]

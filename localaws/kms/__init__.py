"""KMS over moto's keys: found by any of their names, and asked for where S3 seals an object with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from localaws.core import Core


def install(_: Core) -> list[BaseRoute]:
    """Change moto's KMS."""
    from localaws.kms.requests import install_rules

    install_rules()
    return []

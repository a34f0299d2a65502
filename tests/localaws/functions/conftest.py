"""Functions on the server that all tests share."""

from typing import Any

import pytest

from tests.localaws.functions.functions_kit import Functions, Metrics


@pytest.fixture(scope="module")
def functions(localaws: Any) -> Functions:
    return Functions.of(localaws)


@pytest.fixture(scope="module")
def metrics(localaws: Any) -> Metrics:
    return Metrics(localaws)

"""The flow that looks for drift: its parameters; its work is tested in `tests/tasks/drift`."""

from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from flows.drift import drift


@pytest.mark.parametrize("parameters", [{"hours": 0}, {"hours": 10_000}, {"level": 0.0}, {"level": 0.5}])
def test_parameters_out_of_bounds_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(parameters))):
        drift.validate_parameters({"run_id": "dogs", **parameters})

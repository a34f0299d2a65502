"""Collects the kinds of resources that a teardown can remove; only the modules named here delete anything."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.teardown.alarm import ALARM_KINDS
from tasks.teardown.budget import BUDGET_KINDS
from tasks.teardown.ec2 import INSTANCE_KINDS
from tasks.teardown.function import FUNCTION_KINDS
from tasks.teardown.iam import IAM_KINDS
from tasks.teardown.kinds import Kind
from tasks.teardown.notebook import NOTEBOOK_KINDS
from tasks.teardown.registry import REGISTRY_KINDS
from tasks.teardown.sagemaker import SAGEMAKER_KINDS
from tasks.teardown.scaling import SCALING_KINDS
from tasks.teardown.storage import STORAGE_KINDS

KINDS: Mapping[str, Kind] = {
    **SAGEMAKER_KINDS,
    **REGISTRY_KINDS,
    **FUNCTION_KINDS,
    **STORAGE_KINDS,
    **IAM_KINDS,
    **INSTANCE_KINDS,
    **NOTEBOOK_KINDS,
    **SCALING_KINDS,
    **BUDGET_KINDS,
    **ALARM_KINDS,
}

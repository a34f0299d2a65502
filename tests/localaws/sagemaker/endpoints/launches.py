"""What a fleet of model servers is started from, in the test's own process: a role and a model without a server."""

from pathlib import Path

from localaws.core import Core
from localaws.permissions.roles import LogsOfRole, Role
from localaws.sagemaker.endpoints.instances import Launch
from localaws.sagemaker.endpoints.plan import ModelPlan, VariantPlan
from tests.localaws.roles import make_inside
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, IMAGE

VARIANT = "AllTraffic"


def launch(core: Core, folder: Path) -> Launch:
    """Return the launch of a variant of one instance that answers with `ECHO`; `folder` takes its files."""
    role_arn = make_inside(core.settings.account_id, f"role-{folder.name}"[:64], "sagemaker")
    (folder / "model").mkdir()
    (folder / "model" / "inference.py").write_text(ECHO)
    model = ModelPlan("model", IMAGE, None, {}, role_arn)
    variant = VariantPlan(VARIANT, model, "ml.m5.large", instance_count=1, weight=1.0)
    logs = LogsOfRole(core.logs, Role(core.authority, role_arn, "SageMaker"))
    arn = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/endpoint"
    return Launch("endpoint", variant, folder / "model", folder / "instances", arn, logs)

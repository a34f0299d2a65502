"""Defines the options of a pipeline, and the flags that `kennel run` and `kennel plan` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kennel import flags
from tasks.load.options import PipelineLoadOptions
from tasks.model.search import require_search, with_search_space
from tasks.model.weights_file import with_weights_file
from tasks.run.naming import RunId
from tasks.run.options import (
    DataOptions,
    DeployOptions,
    Ec2Instances,
    Machines,
    ModelOptions,
    Network,
    StagingOptions,
    TrainingOptions,
)
from tasks.run.run_id import run_of_training

_ENDPOINT = {
    "instances": "endpoint-instances",
    "instance_type": "endpoint-instance-type",
    "allowed_hosts": "allow-host",
    "allowed_origins": "allow-origin",
}
_LOAD = {"mode": "load-mode", "rate_per_second": "load-rate-per-second", "seconds": "load-seconds"}
_NOT_FLAGS = tuple(name for name in PipelineLoadOptions.model_fields if name not in _LOAD)


Staged = Annotated[DataOptions, flags.flags_of(flags.DATA)]
StagedOn = Annotated[StagingOptions, flags.flags_of(flags.MACHINES)]
Model = Annotated[ModelOptions, flags.flags_of(flags.DATA)]
TrainedOn = Annotated[Machines, flags.flags_of(flags.MACHINES)]
OnEc2 = Annotated[
    Ec2Instances, Parameter(group=flags.MACHINES, help="Also train on this many EC2 instances over SSH, and compare.")
]
InNetwork = Annotated[Network, flags.flags_of(flags.NETWORK, names=flags.NETWORK_NAMES)]
Deploy = Annotated[DeployOptions, flags.flags_of(flags.MACHINES, names=_ENDPOINT)]
LoadTest = Annotated[bool, Parameter(name="--loadtest", group=flags.LOAD, help="Load-test the deployment.")]
Load = Annotated[PipelineLoadOptions, flags.flags_of(flags.LOAD, names=_LOAD, without=_NOT_FLAGS)]
Named = Annotated[
    RunId | None, Parameter(help="By default derived from the arguments, so that a repeated command adopts.")
]


def training_of(model: ModelOptions, machines: Machines) -> TrainingOptions:
    """Return the options of a training, with its files found and its search checked.

    Raises:
        SettingsRefused: the search or its space is refused.
    """
    training = TrainingOptions.of(with_search_space(with_weights_file(model)), machines)
    require_search(training)
    return training


@dataclass(frozen=True)
class PipelineOptions:
    """The parameters of the flow `pipeline`; `data` None is the sample, on real AWS the reference dataset."""

    training: TrainingOptions
    ec2_instances: int = 0
    deploy: DeployOptions = DeployOptions()
    load_test: bool = True
    load: PipelineLoadOptions = PipelineLoadOptions()
    data: str | None = None
    run_id: str | None = None
    budget_usd: float | None = None
    ttl_hours: float | None = None
    budget_alarm: str | None = None
    network: Network = Network()
    kms_key: str | None = None
    data_options: DataOptions = DataOptions()
    staging: StagingOptions = StagingOptions()

    def id_for(self, data: str, runs: Path) -> str:
        """Return the id of the run; `runs` is the folder of all runs."""
        return self.run_id or run_of_training(runs, data, self.training, self.data_options)

"""What a pipeline is asked for, as its plan and the pipeline itself read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tasks.load.options import LoadOptions
from tasks.run.options import DeployOptions, Ec2TrainingOptions, ModelOptions, Network, StagingOptions, TrainingOptions
from tasks.run.settings import Target
from tasks.scaling.traffic import SAMPLE_TRAFFIC, Traffic


@dataclass(frozen=True)
class Wanted:
    """A run and its options; without `ec2` nothing is trained on EC2, without `load` nothing is load-tested.

    `traffic` is the statement that a checked load test plans for.
    """

    run_id: str
    training: TrainingOptions
    deploy: DeployOptions = DeployOptions()
    ec2: Ec2TrainingOptions | None = None
    load: LoadOptions | None = None
    traffic: Traffic | None = None
    network: Network = Network()
    staging: StagingOptions = StagingOptions()

    @classmethod
    def of(
        cls,
        target: Target,
        run_id: str,
        training: TrainingOptions,
        deploy: DeployOptions,
        ec2: Ec2TrainingOptions | None,
        load: LoadOptions | None,
        network: Network = Network(),
        staging: StagingOptions = StagingOptions(),
    ) -> Self:
        """Return what a pipeline is asked for; without a statement the embedded AWS has the demo's traffic."""
        traffic = None if load is None else load.traffic
        if load is not None and load.mode == "checked" and traffic is None and target.has_sample:
            traffic = SAMPLE_TRAFFIC.at_pace(load.pace)
        return cls(run_id, training, deploy, ec2, load, traffic, network, staging)

    @property
    def is_checked(self) -> bool:
        """Whether the load test derives and sets a scaling plan."""
        return self.load is not None and self.load.mode == "checked"


@dataclass(frozen=True)
class Limits:
    """What stops the costs: a budget in USD, which a run does not pass, and the hours that what it makes may live.

    `alarm_email`: who gets mail from AWS Budgets, a second net below the budget.
    """

    budget_usd: float | None = None
    ttl_hours: float | None = None
    alarm_email: str | None = None


def ec2_training(training: TrainingOptions, instances: int) -> Ec2TrainingOptions | None:
    """Return the training on EC2 of the same model, None for no instances."""
    return Ec2TrainingOptions.of(ModelOptions.of(training), instances=instances) if instances else None

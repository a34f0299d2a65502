"""Set-up that the tests of EC2 instances share: settings for a server, a complete plan, the account's instances."""

from pathlib import Path
from typing import Any

from tasks.account.network import Ec2Network, ec2_network
from tasks.account.role_policies import instance_role
from tasks.ec2.access import Access, ensure_access
from tasks.ec2.plan import InstancePlan, plan_instance
from tasks.ec2.prices import InstanceCandidates, choose_instances
from tasks.ec2.profile import ensure_instance_profile
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.options import Network
from tasks.run.records import DatasetRef
from tasks.run.settings import Settings

DATA = DatasetRef("b", "datasets/d", "d", "dogs", ("x",), {"train": {"x": 1}}, 10, 0, "sample")


def account(url: str, folder: Path, **settings: Any) -> Aws:
    """Return clients of a server for a run in `folder`; the caller's address is given, so that none is asked for."""
    defaults = {"ssh_from": "127.0.0.1/32", "home": folder / "home", "runs": folder / "runs"}
    return Aws(Settings(endpoint_url=url, **{**defaults, **settings}))


def default_network(aws: Aws) -> Ec2Network:
    """Return the default VPC, where EC2 chooses the subnet."""
    return ec2_network(aws, Network(), [])


def default_access(run: Run, *, instance_count: int = 1) -> Access:
    """Make or adopt a run's key pair, and its group in the default VPC."""
    return ensure_access(run, default_network(run.aws), instance_count=instance_count)


def planned(
    run: Run,
    *,
    candidates: InstanceCandidates | None = None,
    spot: bool = False,
    number: int = 1,
    network: Ec2Network | None = None,
    volume_key: str | None = None,
) -> InstancePlan:
    """Make what a launch needs and plan the instance."""
    where = network or default_network(run.aws)
    return plan_instance(
        run,
        access=ensure_access(run, where),
        network=where,
        volume_key=volume_key,
        profile=ensure_instance_profile(run, instance_role(run.aws, run.id, DATA, None)),
        candidates=candidates or choose_instances(finetune=False, requested="c7i.xlarge"),
        spot=spot,
        number=number,
    )


def living(aws: Aws, run_id: str) -> list[Any]:
    """Return the instances with a run's tag that have not ended, as EC2 describes them."""
    wanted = [{"Name": "tag:kennel:run", "Values": [run_id]}]
    answer = aws.client("ec2").describe_instances(Filters=wanted)
    found = [item for held in answer["Reservations"] for item in held["Instances"]]
    return [item for item in found if item["State"]["Name"] not in {"shutting-down", "terminated"}]


def states(run: Run) -> list[str]:
    """Return how each instance of a run stands in its ledger."""
    return [row.state for row in run.ledger.rows() if row.kind == "instance"]

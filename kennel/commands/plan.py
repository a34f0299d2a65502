"""`kennel plan`, and the costs that `kennel run` on real AWS asks for: shows what a run makes and costs beforehand.

Nothing is created or changed, and no server is started. Where the embedded AWS does not run, everything is to be made.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from kennel import REFERENCE_DATA, SAMPLE, flags
from kennel.commands.pipeline_options import (
    Deploy,
    InNetwork,
    Load,
    LoadTest,
    Model,
    Named,
    OnEc2,
    PipelineOptions,
    Staged,
    StagedOn,
    TrainedOn,
    training_of,
)
from kennel.terminal import console
from tasks.load.options import PipelineLoadOptions
from tasks.model.backbones import require_backbone
from tasks.run.errors import SettingsRefused
from tasks.run.options import DataOptions, DeployOptions, Machines, ModelOptions, Network, StagingOptions

if TYPE_CHECKING:
    from tasks.plan.plan import RunPlan

_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}
LONGEST_HOURS = 366 * 24


def plan(
    *,
    data: flags.Data = None,
    data_options: Staged = DataOptions(),
    staging: StagedOn = StagingOptions(),
    model: Model = ModelOptions(),
    machines: TrainedOn = Machines(),
    ec2_instances: OnEc2 = 0,
    deploy: Deploy = DeployOptions(),
    network: InNetwork = Network(),
    kms_key: flags.KmsKey = None,
    load_test: LoadTest = True,
    load: Load = PipelineLoadOptions(),
    run_id: Named = None,
    budget: flags.Budget = None,
    ttl: flags.TimeToLive = None,
    budget_alarm: flags.BudgetAlarm = None,
    json: flags.Json = False,
) -> int:
    """Show the plan of a run with the options of the flags, and return the exit code.

    Raises:
        SettingsRefused: the backbone or an instance type is unknown.
        SpendingRefused: the run may cost more than the budget; the plan was shown.
        AwsFailed: a lookup failed.
    """
    training = training_of(model, machines)
    hours = hours_of(ttl)
    chosen = PipelineOptions(
        training,
        ec2_instances,
        deploy,
        load_test,
        load,
        data,
        run_id,
        budget,
        hours,
        budget_alarm,
        network,
        kms_key,
        data_options,
        staging,
    )
    return show_plan(chosen, as_json=json)


def show_plan(chosen: PipelineOptions, *, as_json: bool) -> int:
    """Show the plan of a run and return the exit code.

    Raises:
        SpendingRefused: the run may cost more than the budget; the plan was shown.
        KennelError: as `plan` raises it.
    """
    from tasks.plan.consent import require_within_budget
    from tasks.plan.plan import plan_json
    from tasks.plan.text import plan_lines

    made = planned(chosen)
    if as_json:
        console.print_json(plan_json(made))
    else:
        console.print_plain("\n".join(plan_lines(made)))
    require_within_budget(made)
    return 0


def agree_to_costs(chosen: PipelineOptions, *, yes: bool) -> bool:
    """On real AWS, show the plan of a run, ask for it and return True; on the embedded AWS nothing is billed or asked.

    Raises:
        SpendingRefused: there is no terminal to ask at and no `yes`, the answer is no, or the budget is too small.
        KennelError: as `plan` raises it.
    """
    from kennel.servers import environment
    from tasks.run.settings import Settings

    if environment.wants_embedded_aws() or not Settings.load().target().is_billed:
        return False
    from tasks.plan.consent import confirm, require_a_way_to_agree, require_within_budget
    from tasks.plan.text import plan_lines

    require_a_way_to_agree(yes=yes)
    made = planned(chosen)
    console.print_aside(plan_lines(made))
    require_within_budget(made)
    confirm(made, yes=yes, ask=_ask)
    return True


def agree_to_public_url(deploy: DeployOptions) -> DeployOptions:
    """Return the options with a function URL for anybody confirmed: by a flag, or by an answer at the terminal.

    Raises:
        SpendingRefused: it was not confirmed.
    """
    from tasks.plan.consent import confirm_public

    return confirm_public(deploy, ask=_ask)


def planned(chosen: PipelineOptions) -> RunPlan:
    """Return the plan of a run, from the AWS that is named or from the embedded one if it runs.

    Raises:
        KennelError: as `plan` raises it.
    """
    from kennel.commands.data_argument import check_data_argument, read_data_argument
    from kennel.servers import environment, isolation, localaws
    from tasks.account.budget_alarm import require_budget
    from tasks.plan.plan import make_plan
    from tasks.plan.wanted import Limits, Wanted, ec2_training
    from tasks.run.aws import Aws
    from tasks.run.settings import EMBEDDED_AWS, Settings

    require_budget(chosen.budget_usd, chosen.budget_alarm)
    environment.use_key(chosen.kms_key)
    require_backbone(chosen.training.backbone)
    named = read_data_argument(chosen.data)
    if named is not None:
        check_data_argument(named, Settings.load(), chosen.data_options.class_folder)
    where = environment.connect_to_running()
    if where is None:
        isolation.isolate_aws(os.environ)
    settings = Settings.load(**({} if where else {"region": localaws.REGION}))
    target = where.target if where else EMBEDDED_AWS
    data = named or (SAMPLE if target.has_sample else REFERENCE_DATA)
    load = chosen.load if chosen.load_test else None
    wanted = Wanted.of(
        target,
        chosen.id_for(data, settings.runs),
        chosen.training,
        chosen.deploy,
        ec2_training(chosen.training, chosen.ec2_instances),
        load,
        chosen.network,
        chosen.staging,
    )
    limits = Limits(chosen.budget_usd, chosen.ttl_hours, chosen.budget_alarm)
    return make_plan(wanted, limits, Aws(settings) if where else None, settings)


def hours_of(text: str | None, flag: str = "--ttl", where: str = "time to live") -> float | None:
    """Return the hours of "30m", "4h" or "2d"; None for None.

    Raises:
        SettingsRefused: the text is no number of minutes, hours or days, or is 0 or more than a year.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})([mhd])", text)
    hours = int(match[1]) * _HOURS[match[2]] if match else 0.0
    if not 0 < hours <= LONGEST_HOURS:
        why = "it has to be a number of minutes, hours or days, 1m to 366d"
        raise SettingsRefused(where, f"{flag} {text}", why, f"{flag} 4h")
    return hours


def _ask(question: str) -> str:
    console.print_aside(["", question])  # stdout is for the result
    return input()

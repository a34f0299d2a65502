"""Trains an endpoint's model anew when data, code or options changed, and promotes it if the gate finds it better.

prefect deployment run 'retrain/retrain' -p run_id=dogs-1a2b3c4d

It ends in a second when there is nothing to do. A run that was killed is finished by the next one: what was staged,
trained and judged is adopted, and a promotion that had begun is settled first.
"""

from __future__ import annotations

from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from flows.harmless import harmless_errors
from flows.promote import promote, settle_earlier
from flows.reported import reported
from flows.run_name import named, named_run
from flows.stage_clock import StageClock
from flows.stage_data import locate, stage_data
from flows.step import step
from flows.telling import tell, tell_failure
from flows.train_sagemaker import train_sagemaker
from tasks.gate.gate import GateRecord
from tasks.plan.wanted import Limits as SpendingLimits
from tasks.plan.wanted import Wanted
from tasks.plan.within import begin_within
from tasks.promotion.promote import now_text
from tasks.retraining import conclude as ended
from tasks.retraining import judging
from tasks.retraining import need as needs
from tasks.retraining.need import Need, When
from tasks.retraining.record import Retraining
from tasks.run.artifacts import publish_record
from tasks.run.data_choice import chosen_data_options
from tasks.run.errors import StageFailed
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.options import BudgetUsd, DeployOptions, Network, PromotionOptions, TrainingOptions
from tasks.run.records import DatasetRef
from tasks.run.source_name import keep_in_memory
from tasks.run.training_choice import chosen_training
from tasks.run.waiting import say
from tasks.teardown.rebuild import working_on

STAGE = "retrain"
Asked = Literal["better", "not worse"]
Reason = Annotated[str, Field(max_length=2000)]

look = step("something to do")(needs.find_need)
judge = step("gate")(judging.judge_challenger)
hold_to_limits = step("limits of cost")(begin_within)
refuse = step("refuse")(ended.refuse)


@flow(
    name=STAGE,
    flow_run_name=named(STAGE, named_run),
    on_failure=[tell_failure],
    on_crashed=[tell_failure],
)
@harmless_errors
async def retrain(
    run_id: RunId,
    data: str | None = None,
    training: TrainingOptions | None = None,
    when: When = "changed",
    at_least_hours: Annotated[float, Field(ge=0, le=8784)] = 0.0,
    promote_on: Asked = "better",
    add_photos: bool = False,
    promotes: bool = True,
    promotion: PromotionOptions = PromotionOptions(),
    network: Network = Network(),
    budget_usd: BudgetUsd | None = None,
    because: Reason = "",
) -> Retraining:
    """Train a challenger for the run's endpoint if there is a reason, judge it, and promote it if it may be.

    Args:
        run_id: The run whose endpoint serves, the champion's.
        data: A URL, an archive, a folder, s3://BUCKET/PREFIX/, or `sample`; else the run's, staged as that one was.
        training: By default the options of the run's own training.
        when: Train when data, code or options changed, or always.
        at_least_hours: So many hours lie between two trainings.
        promote_on: What suffices: a model that is shown to be better, or one that is shown to be not worse.
        add_photos: Add the test photos of the data to those by which models are judged.
        promotes: Promote a model that may be; otherwise it is only registered.
        promotion: How it goes live, and what takes it back.
        network: The VPC that the training is in, if it is yours.
        budget_usd: The training does not begin if it may cost more.
        because: What asked for it, such as a drift; it is told with the reasons, and is none by itself.

    Raises:
        SettingsRefused: the run has no endpoint, or its training was of an older release and is not named.
        SpendingRefused: the training may cost more than its budget.
        DataRefused: the data is unfit, or has photos of the evaluation set in its training splits.
        StageFailed: the training failed, or an alarm took the promotion back; the champion serves.
        KennelError: the kind that a stage names.
    """
    service = Run.load(run_id)
    with working_on(service, STAGE):
        await settle_earlier(service)
    staged = service.need(DatasetRef)
    source, options = keep_in_memory(data or staged.source), chosen_data_options(staged)
    chosen = training or chosen_training(service)
    found = await look(service, await locate(source, service.settings, options), chosen, when, at_least_hours, because)
    if not found.reasons:
        return _nothing(found, found.why_not)
    say(f"retrain: {'; '.join(found.reasons)}: the challenger is run {found.challenger}")
    wanted = Wanted(found.challenger, chosen, DeployOptions(), network=network)
    await hold_to_limits(wanted, SpendingLimits(budget_usd))
    judging.begin_challenger(service, found.challenger)
    clock = StageClock()
    dataset = await clock.time("stage_data", stage_data(source, found.challenger, options))
    if not needs.still_new(service, found, dataset.digest):
        return _nothing(found, f"the data at {dataset.source} holds the same images as before")
    await clock.time("train_sagemaker", train_sagemaker(found.challenger, chosen, network))
    challenger = Run.load(found.challenger)
    with working_on(service, STAGE), reported(service), reported(challenger):
        decision = await clock.time("gate", judge(service, challenger, asked=promote_on, extend=add_photos))
        if not decision.may_be_promoted:
            await refuse(challenger, decision)
        elif promotes:
            await clock.time("promote", _promote(service, challenger, found, decision, promotion))
        outcome = "refused" if not decision.may_be_promoted else "promoted" if promotes else "kept"
        return await _conclude(service, found, dataset.digest, outcome, decision.text)


def _nothing(found: Need, why: str) -> Retraining:
    """Return what is not kept: the record of the latest training stays."""
    say(f"retrain: nothing to do: {why}")
    return Retraining(now_text(), "nothing to do", why, "", found.data_digest, found.code, found.training)


async def _promote(
    service: Run, challenger: Run, found: Need, decision: GateRecord, promotion: PromotionOptions
) -> None:
    try:
        await promote(service.id, challenger.id, promotion, decision.text)
    except StageFailed as error:
        digest = challenger.need(DatasetRef).digest
        await _conclude(service, found, digest, "taken back", f"{error.what}: {error.why}")
        raise


async def _conclude(service: Run, found: Need, data_digest: str, outcome: str, why: str) -> Retraining:
    record = ended.conclude(service, found, data_digest, outcome, why)
    await publish_record(STAGE, service.id, record)
    await tell(service.id, outcome, why)
    return record

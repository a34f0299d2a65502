"""The plan of a teardown, for random inventories: it never removes a resource that is not provably ours."""

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.run import naming
from tasks.run.ledger_contents import State
from tasks.run.ledger_rows import KINDS as LEDGER_KINDS
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.plan import ORDER, Claim, Plan, Resource, Scope, make_plan, plan_text

BUCKET = "kennel-123456789012-us-east-1"
DATASET = f"{BUCKET}/datasets/{'a' * 64}"
RUNS = ("run-1", "run-2", "other")
NAMES = (
    "kennel-run-1-x",
    "kennel-run-2-x",
    "production",
    BUCKET,
    DATASET,
    f"{BUCKET}/runs/run-1",
    f"{BUCKET}/runs/run-11",
    f"{BUCKET}/holiday",
    f"theirs/datasets/{'b' * 64}",
    "kennel-run-1-x:live",
)

PARTS = {"scalable-target": "endpoint"} | dict.fromkeys(
    ("function-alias", "function-url", "provisioned-concurrency"), "function"
)
kinds = st.sampled_from([*ORDER, "ec2-instance"])
names = st.sampled_from(NAMES)
tags: st.SearchStrategy[dict[str, str]] = st.one_of(
    st.just({}),
    st.sampled_from(RUNS).map(naming.tags),
    st.just({"kennel:project": "other", "kennel:run": "run-1"}),
    st.just({"kennel:run": "run-1"}),
)
claims = st.lists(
    st.builds(Claim, kinds, names, st.sampled_from(RUNS), st.sampled_from(get_args(State)[:4])), max_size=12
)
founds = st.lists(st.builds(Resource, kinds, names, tags), max_size=12, unique_by=lambda item: item.key)
scopes = st.sampled_from([Scope(None), Scope(frozenset({"run-1"})), Scope(frozenset({"run-1", "run-2"}))])


def plan_for(found: Sequence[Resource], claims: Sequence[Claim] = (), run: str | None = "run-1") -> Plan:
    return make_plan(Scope(None if run is None else frozenset({run})), claims, found, bucket=BUCKET)


@given(scopes, claims, founds)
def test_a_taggable_resource_without_our_tags_is_never_removed(
    scope: Scope, claims: list[Claim], found: list[Resource]
) -> None:
    existing = {item.key: item for item in found}
    for removal in make_plan(scope, claims, found, bucket=BUCKET).removals:
        item = existing[removal.kind, removal.name]
        if removal.kind in {"s3-prefix", *PARTS}:
            continue
        if removal.kind == "bucket":
            made = any(c.key == item.key and c.state != "adopted" and scope.holds(c.run_id) for c in claims)
            assert item.tags.get("kennel:project") == "kennel" or (made and not item.tags)
            continue
        assert item.tags.get("kennel:project") == "kennel"
        assert scope.holds(item.tags.get("kennel:run"))


@given(scopes, claims, founds)
def test_a_prefix_that_kennel_does_not_write_is_never_removed(
    scope: Scope, claims: list[Claim], found: list[Resource]
) -> None:
    removed = {
        item.name for item in make_plan(scope, claims, found, bucket=BUCKET).removals if item.kind == "s3-prefix"
    }
    assert f"{BUCKET}/holiday" not in removed
    assert not removed & {"production", BUCKET}
    if scope.run_ids == frozenset({"run-1"}):
        claimed = {claim.name for claim in claims if claim.kind == "s3-prefix" and claim.run_id == "run-1"}
        assert f"{BUCKET}/runs/run-11" not in removed
        assert removed - {f"{BUCKET}/runs/run-1"} <= claimed


@given(scopes, claims, founds)
def test_what_another_run_uses_is_kept_and_nothing_is_planned_that_does_not_exist(
    scope: Scope, claims: list[Claim], found: list[Resource]
) -> None:
    plan = make_plan(scope, claims, found, bucket=BUCKET)
    planned = {(item.kind, item.name) for item in plan.removals}
    assert planned <= {item.key for item in found}
    assert not planned & {claim.key for claim in claims if not scope.holds(claim.run_id)}
    assert not planned & {(item.kind, item.name) for item in plan.kept}


@given(scopes, claims, founds)
def test_dependents_go_first_and_roles_last(scope: Scope, claims: list[Claim], found: list[Resource]) -> None:
    order = [ORDER.index(item.kind) for item in make_plan(scope, claims, found, bucket=BUCKET).removals]
    assert order == sorted(order)


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize(("run", "is_removed"), [("run-1", True), ("run-2", False)])
def test_what_belongs_to_something_goes_when_that_is_tagged(kind: str, run: str, is_removed: bool) -> None:
    name = "endpoint/kennel-run-1-e/variant/primary" if kind == "scalable-target" else "kennel-run-1-e:live"
    whole = Resource(PARTS[kind], "kennel-run-1-e", naming.tags(run))
    plan = plan_for([Resource(kind, name), whole], [Claim(kind, name, "run-1", "created")])
    assert (kind in [item.kind for item in plan.removals]) is is_removed


@pytest.mark.parametrize(("endpoint", "is_removed"), [("kennel-run-1-e", True), ("kennel-run-11-e", False)])
def test_a_scalable_target_that_outlived_its_endpoint_goes_by_the_runs_name(endpoint: str, is_removed: bool) -> None:
    name = f"endpoint/{endpoint}/variant/primary"
    plan = plan_for([Resource("scalable-target", name)], [Claim("scalable-target", name, "run-1", "created")])
    assert bool(plan.removals) is is_removed
    assert plan_for([Resource("scalable-target", name)]).removals == ()


def test_everything_tagged_is_found_without_a_ledger() -> None:
    found = [Resource("role", "kennel-run-1-x", naming.tags("run-1")), Resource("endpoint", "e", naming.tags("run-2"))]
    assert [item.kind for item in plan_for(found, run=None).removals] == ["endpoint", "role"]
    assert [item.kind for item in plan_for(found, run="run-1").removals] == ["role"]


def test_a_ledger_row_without_the_tags_is_a_claim_and_not_a_proof() -> None:
    plan = plan_for([Resource("role", "r", {"team": "b"})], [Claim("role", "r", "run-1", "uncertain")])
    assert plan.removals == ()
    assert plan.kept[0].reason == "it does not carry the tags of these runs"


def test_prefixes_are_the_same_however_a_ledger_spells_them() -> None:
    for name in (f"s3://{DATASET}", f"{DATASET}/", DATASET):
        plan = plan_for([Resource("s3-prefix", DATASET)], [Claim("s3_prefix", name, "run-1", "adopted")])
        assert [item.name for item in plan.removals] == [DATASET]


def test_a_bucket_that_a_crash_left_without_tags_goes_and_the_users_own_stays() -> None:
    crashed = plan_for([Resource("bucket", BUCKET)], [Claim("bucket", BUCKET, "run-1", "intended")])
    brought = plan_for([Resource("bucket", "mine")], [Claim("bucket", "mine", "run-1", "adopted")])
    assert [len(crashed.removals), len(brought.removals)] == [1, 0]


def test_in_a_bucket_that_the_user_brought_only_a_ledger_says_what_is_ours() -> None:
    theirs, ours = Resource("s3-prefix", f"{BUCKET}/runs/theirs"), Resource("s3-prefix", f"{BUCKET}/runs/run-1")
    claimed = [Claim("bucket", BUCKET, "run-1", "adopted"), Claim("s3-prefix", ours.name, "run-1", "created")]
    for bucket, removed in (
        (Resource("bucket", BUCKET), [ours.name]),
        (Resource("bucket", BUCKET, naming.tags("x")), None),
    ):
        plan = plan_for([theirs, ours, bucket], claimed, run=None)
        prefixes = [item.name for item in plan.removals if item.kind == "s3-prefix"]
        assert prefixes == (removed or [ours.name, theirs.name])


def test_a_kind_without_a_deleter_is_told_and_not_forgotten() -> None:
    plan = plan_for([Resource("ec2-instance", "i-1")], [Claim("ec2-instance", "i-1", "run-1", "created")])
    assert plan_text(plan) == "  keep   ec2-instance i-1: kennel cannot remove resources of this kind"


def test_every_kind_that_kennel_makes_can_be_removed_and_has_its_place_in_the_order() -> None:
    assert set(ORDER) == set(KINDS) == set(LEDGER_KINDS)
    assert len(set(ORDER)) == len(ORDER)

"""The accounting of concurrency alone: limits that the processes of this machine cannot reach."""

import pytest

from localaws.functions.concurrency import Concurrency, RefusedError, Resource, ThrottledError


def test_the_unreserved_pool_is_what_nobody_reserved_or_provisioned() -> None:
    concurrency = Concurrency(account_limit=110)
    concurrency.provision("ahead", "live", 3)
    concurrency.reserve("kept", 5)
    assert concurrency.unreserved_limit == 102
    taken = [concurrency.lease(Resource(f"f{number}", None)) for number in range(102)]
    with pytest.raises(ThrottledError) as caught:
        concurrency.lease(Resource("ahead", "live"))
    assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
    assert concurrency.lease_provisioned(Resource("ahead", "live")).running.of_account == 103
    assert concurrency.lease(Resource("kept", None)).running.unreserved == 102
    taken[0].release()
    assert concurrency.lease(Resource("ahead", "live")).running.of_function == 2


def test_a_pool_is_invoked_ten_times_a_second_for_each_execution_unless_asynchronously() -> None:
    now = 0.0
    concurrency = Concurrency(account_limit=100, clock=lambda: now)
    resource = Resource("f", None)
    for _ in range(1000):
        concurrency.lease(resource).release()
    with pytest.raises(ThrottledError) as caught:
        concurrency.lease(resource)
    assert caught.value.reason == "FunctionInvocationRateLimitExceeded"
    concurrency.lease(resource, is_synchronous=False).release()
    now = 0.0015
    concurrency.lease(resource).release()
    with pytest.raises(ThrottledError):
        concurrency.lease(resource)


def test_what_still_runs_in_environments_no_longer_provisioned_keeps_its_place() -> None:
    concurrency = Concurrency()
    concurrency.reserve("f", 2)
    concurrency.provision("f", "live", 2)
    running = [concurrency.lease_provisioned(Resource("f", "live")) for _ in range(2)]
    concurrency.unprovision("f", "live")
    with pytest.raises(ThrottledError):
        concurrency.lease(Resource("f", None))
    running[0].release()
    concurrency.lease(Resource("f", None))


def test_a_refused_change_changes_nothing() -> None:
    concurrency = Concurrency()
    concurrency.provision("f", "live", 5)
    with pytest.raises(RefusedError):
        concurrency.provision("f", "live", 901)
    with pytest.raises(RefusedError):
        concurrency.reserve("f", 4)
    assert concurrency.unreserved_limit == 995


def test_an_account_with_fewer_than_100_executions_keeps_them_all_unreserved() -> None:
    """AWS says so of accounts with 10 and with 50: the issues are linked at `tasks.scaling.rules`."""
    for quota in (10, 50):
        with pytest.raises(RefusedError, match=rf"below its minimum value of \[{quota}\]"):
            Concurrency(account_limit=quota).reserve("f", 1)

"""A launched instance accepts our login, has the host key that we gave it, and shuts down when no heartbeat comes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.ec2.access import caller_address
from tasks.ec2.launch import launch
from tasks.ec2.plan import dead_man_command
from tasks.ec2.state import find_instances, instance_facts, login, why_ended
from tasks.ec2.terminate import terminate
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import InstanceRef
from tasks.ssh.wait import wait_for_ssh
from tests.conftest import running_localaws
from tests.polling import wait_until
from tests.tasks.ec2.instances import account, planned

TIME_SCALE = 60
"""A minute lasts a second."""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """A server of this module's own, whose clock runs fast; the caller's address is asked for."""
    with running_localaws("--time-scale", str(TIME_SCALE)) as server:
        port = json.loads((server.home / "server.json").read_text())["ssh_port"]
        minutes = {"dead_man_minutes": 10, "ec2_launch_seconds": 60}
        yield account(server.url, tmp_path_factory.mktemp("client"), ssh_from=None, ssh_port=port, **minutes)


def launched(aws: Aws, run_id: str) -> InstanceRef:
    run = Run(aws, run_id)
    return launch(run, planned(run))


def test_the_instance_answers_with_the_host_key_that_it_was_given(aws: Aws) -> None:
    ref = launched(aws, "in-1")
    with wait_for_ssh(login(ref), lambda: instance_facts(aws, ref), deadline_seconds=30) as remote:
        assert remote.run(["echo", "in"]).stdout == b"in\n"
        assert remote.run("cloud-init status --wait").exit_status == 0
    terminate(Run(aws, "in-1"), [ref.instance_id])


def test_the_facts_tell_state_address_port_and_console(aws: Aws) -> None:
    ref = launched(aws, "in-2")
    facts = instance_facts(aws, ref)
    assert (facts.state, facts.state_reason, facts.address, facts.port_open_to_us) == (
        "running",
        None,
        ref.address,
        True,
    )
    wait_until(lambda: instance_facts(aws, ref).console_tail, "cloud-init", holds=lambda tail: "Cloud-init" in tail)
    elsewhere = Aws(aws.settings.model_copy(update={"ssh_from": "198.51.100.7/32"}))
    assert instance_facts(elsewhere, ref).port_open_to_us is False
    nowhere = Aws(aws.settings.model_copy(update={"caller_address_url": f"{aws.endpoint}/_localaws/health"}))
    assert instance_facts(nowhere, ref).port_open_to_us is None
    terminate(Run(aws, "in-2"), [ref.instance_id])
    facts = instance_facts(aws, ref)
    assert facts.state == "terminated" and "Client.UserInitiatedShutdown" in (facts.state_reason or "")
    assert str(caller_address(aws.settings)).startswith("127.")


def test_an_instance_that_nobody_renews_ends_itself_and_one_that_is_renewed_does_not(aws: Aws) -> None:
    """The one left alone has five minutes of its own time; the other is given four more, again and again."""
    hurried = Aws(aws.settings.model_copy(update={"dead_man_minutes": 5}))
    kept, left_alone = launched(aws, "in-4"), launched(hurried, "in-3")
    with wait_for_ssh(login(kept), lambda: instance_facts(aws, kept), deadline_seconds=30) as remote:
        begun = time.monotonic()

        def has_ended() -> bool:
            remote.run(dead_man_command(4))
            is_long = time.monotonic() - begun > 2 * 4 * 60 / TIME_SCALE
            return is_long and why_ended(aws, left_alone.instance_id) is not None

        wait_until(has_ended, "the instance that nobody renews to end")
        assert "Client.InstanceInitiatedShutdown" in (why_ended(aws, left_alone.instance_id) or "")
        assert find_instances(aws, "in-3") == () and find_instances(aws, "in-4") == (kept,)
    wait_until(lambda: why_ended(aws, kept.instance_id), "the instance that is renewed no more to end")


def test_its_keys_are_where_the_record_says(aws: Aws) -> None:
    ref = launched(aws, "in-5")
    assert login(ref).key_path == Path(ref.login_key) and Path(ref.login_key).exists()
    terminate(Run(aws, "in-5"), [ref.instance_id])

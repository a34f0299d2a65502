"""`kennel doctor`: its exit code, its JSON and its table; without an AWS it looks at this machine only."""

import contextlib
import socket
from pathlib import Path

import pytest

from kennel.servers.localaws import PREFERRED_PORT
from tests.conftest import running_localaws
from tests.kennel.shell import Terminal
from tests.keys import OPERATOR, for_environment, give_keys


def operator(folder: Path, url: str) -> Terminal:
    more = {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", **for_environment(OPERATOR)}
    return Terminal(folder / "home", folder / "runs", more)


def test_where_nothing_runs_the_machine_is_looked_at_and_no_server_is_started(tmp_path: Path) -> None:
    done = Terminal(tmp_path / "home", tmp_path / "runs").kennel("doctor", "--json")
    assert done.code == 0, done.out
    assert {each["check"] for each in done.answer["findings"]} == {"python", "disk", "memory", "namespaces", "ports"}
    assert not (tmp_path / "home" / "processes").exists()


def test_a_port_that_another_program_has_is_told_with_how_to_see_which(tmp_path: Path) -> None:
    with socket.socket() as taken, contextlib.suppress(OSError):  # another program may have it already
        taken.bind(("127.0.0.1", PREFERRED_PORT))
        done = Terminal(tmp_path / "home", tmp_path / "runs").kennel("doctor", "--json")
        (port,) = [each for each in done.answer["findings"] if str(PREFERRED_PORT) in each["seen"]]
        assert port["status"] == "warn" and "ss -ltnp" in port["cure"]


@pytest.mark.parametrize(
    "arguments", [("--instances", "0"), ("--ec2-instances", "99"), ("--instance-type", "m5.large")]
)
def test_wrong_usage_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert Terminal(tmp_path / "home", tmp_path / "runs").kennel("doctor", *arguments).code == 2


@pytest.mark.slow
def test_an_account_in_use_ends_with_0_and_a_new_one_with_12_and_a_table_that_fits(tmp_path: Path) -> None:
    with running_localaws("--operator", str(give_keys(tmp_path / "old"))) as server:
        healthy = operator(tmp_path, server.url).kennel("doctor", "--json")
    assert (healthy.code, healthy.answer["counts"]["fail"], healthy.answer["counts"]["skipped"]) == (0, 0, 0)
    assert healthy.answer["counts"]["ok"] > 15
    with running_localaws("--operator", str(give_keys(tmp_path / "new")), "--account", "new") as server:
        found = operator(tmp_path, server.url).kennel("doctor", "--instances", "2", more={"COLUMNS": "80"})
    assert found.code == 12, found.out
    assert "FAIL    quotas      'ml.m5.xlarge for training job usage' is 0" in found.out
    lines = found.out.splitlines()
    assert [line for line in lines[1:] if len(line) > 80 and "→" not in line] == []
    assert any(line.strip().startswith(f"→ aws --endpoint-url {server.url} service-quotas request-") for line in lines)
    assert lines[-1].startswith("2 to cure, ")

"""The interface that ranks reach each other by: what SageMaker names, else that of the default route."""

import json
import socket
from pathlib import Path

import pytest

from training.distributed import interface_to_other_hosts

LOOPBACK = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
ABSENT = "none7"
NO_ROUTE = "Iface Destination Gateway\n"


@pytest.fixture
def resource_config(tmp_path: Path) -> Path:
    return tmp_path / "resourceconfig.json"


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    path = tmp_path / "route"
    path.write_text(NO_ROUTE)
    return path


def test_the_interface_in_the_environment_is_used(resource_config: Path, routes: Path) -> None:
    resource_config.write_text(json.dumps({"network_interface_name": ABSENT}))

    assert interface_to_other_hosts({"SM_NETWORK_INTERFACE_NAME": LOOPBACK}, resource_config, routes) == LOOPBACK


def test_the_interface_in_the_resource_configuration_is_used(resource_config: Path, routes: Path) -> None:
    resource_config.write_text(json.dumps({"network_interface_name": LOOPBACK}))

    assert interface_to_other_hosts({}, resource_config, routes) == LOOPBACK


def test_else_the_interface_of_the_default_route_is_used(resource_config: Path, routes: Path) -> None:
    routes.write_text(f"{NO_ROUTE}{ABSENT} 0000007F 0\n{LOOPBACK} 00000000 01001FAC\n")

    assert interface_to_other_hosts({}, resource_config, routes) == LOOPBACK


def test_a_name_that_no_interface_has_does_not_count(resource_config: Path, routes: Path) -> None:
    resource_config.write_text(json.dumps({"network_interface_name": ABSENT}))
    routes.write_text(f"{NO_ROUTE}{LOOPBACK} 00000000 01001FAC\n")

    assert interface_to_other_hosts({"SM_NETWORK_INTERFACE_NAME": ABSENT}, resource_config, routes) == LOOPBACK


@pytest.mark.parametrize("content", ["", "{}", "[1", '{"network_interface_name": null}'])
def test_without_a_name_and_a_route_there_is_none(content: str, resource_config: Path, routes: Path) -> None:
    resource_config.write_text(content)

    assert interface_to_other_hosts({}, resource_config, routes) is None
    routes.unlink()
    assert interface_to_other_hosts({}, resource_config, routes) is None

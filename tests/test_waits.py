"""Every wait for AWS pauses as `tasks.run.waiting` says; a `sleep` of a module's own would poll AWS too fast."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_AWS = {
    "flows/step.py": "the end of this process",
    "kennel/commands/iam.py": "the time until a changed policy counts, once",
    "kennel/commands/logs.py": "files of this machine",
    "kennel/servers/localaws.py": "a local server",
    "kennel/servers/prefect.py": "a local server",
    "kennel/servers/prefect_watch.py": "a local server",
    "kennel/servers/processes.py": "processes of this machine",
    "tasks/data/download.py": "another server than AWS",
    "tasks/ec2/guard.py": "a process of this machine",
    "tasks/ec2/reconnect.py": "an instance, over SSH",
    "tasks/ec2/training.py": "an instance, over SSH",
    "tasks/load/machine_watch.py": "the processors of this machine",
    "tasks/load/profile.py": "the next full minute, once",
    "tasks/load/web_interface.py": "a page of this machine",
    "tasks/serving/spares.py": "the embedded AWS only",
    "tasks/ssh/wait.py": "an instance, over SSH",
}
"""What a module that sleeps by itself waits for instead."""


def sleeps(path: Path) -> bool:
    """Tell whether a module calls something named `sleep` or `_sleep`."""
    source = path.read_text()
    if "sleep" not in source:
        return False
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    names = (func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in calls)
    return any(name.lstrip("_") == "sleep" for name in names)


@pytest.mark.parametrize("room", ["tasks", "flows", "kennel"])
def test_only_the_common_wait_sleeps_until_its_next_look_at_aws(room: str) -> None:
    found = {str(path.relative_to(ROOT)) for path in sorted((ROOT / room).rglob("*.py")) if sleeps(path)}
    assert found - set(NOT_AWS) - {"tasks/run/waiting.py"} == set()

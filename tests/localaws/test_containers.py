"""Programs in containers get their variables and folders; what makes the container has nothing of theirs."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from localaws import container_view
from localaws.container_view import View
from localaws.containers import Containers, Program
from localaws.handover import NEEDED, handed_over
from localaws.processes import OWNER, PROCESS, ProcessTable
from localaws.programs.container import VARIABLES

OF_THE_LOADER = {
    "LD_PRELOAD": "/none.so",
    "GCONV_PATH": "/none",
    "LOCPATH": "/none",
    "LC_ALL": "xx",
    "OPENSSL_CONF": "/x",
}


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    table = ProcessTable(tmp_path / "processes", str(tmp_path))
    yield Containers(table)
    table.stop_all(grace_seconds=0)


def printed(
    containers: Containers, folder: Path, script: str, *, environment: Mapping[str, str], view: View | None = None
) -> list[str]:
    """Return the lines of a script of the shell."""
    (folder / "root").mkdir(exist_ok=True)
    lines: list[str] = []
    program = Program("script", ["/bin/sh", "-c", script], environment, folder)
    started = containers.spawn(program, view or View(folder / "root", {"/mnt": folder}), on_line=lines.append)
    assert started.wait(30) == 0, lines
    return lines


def test_only_the_program_has_its_variables(containers: Containers, tmp_path: Path) -> None:
    lines = printed(containers, tmp_path, "exec /usr/bin/env", environment={"PATH": "/usr/bin", **OF_THE_LOADER})
    told = dict(line.split("=", 1) for line in lines if "ld.so" not in line)
    assert told.keys() - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", *OF_THE_LOADER, OWNER, PROCESS}
    assert len([line for line in lines if "ld.so" in line]) <= 2, "the shell and env, not what started them"


def test_what_starts_a_program_has_none_of_its_variables() -> None:
    with handed_over(OF_THE_LOADER) as (early, _):
        assert early.keys() <= {VARIABLES, *NEEDED}


def test_a_python_environment_in_tmp_is_seen_beside_the_containers_own_tmp(
    containers: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if refusal := containers.refusal():
        pytest.skip(refusal)
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # where people unpack a checkout
        (Path(place) / "pyvenv.cfg").touch()
        monkeypatch.setattr(sys, "prefix", place)
        container_view._host.cache_clear()
        try:
            view = View(tmp_path / "root", {"/tmp": tmp_path})
            script = f"ls {place}; touch /tmp/mine; touch {place}/x 2>/dev/null || echo read-only"
            assert printed(containers, tmp_path, script, environment={}, view=view) == ["pyvenv.cfg", "read-only"]
        finally:
            container_view._host.cache_clear()
    assert (tmp_path / "mine").exists()

"""Programs in containers get their variables and folders; what makes the container has nothing of theirs."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from localaws import container_view
from localaws.container_view import View
from localaws.containers import Containers, Program
from localaws.handover import NEEDED, handed_over
from localaws.processes import OWNER, PROCESS, ProcessTable
from localaws.programs.container import VARIABLES
from tests.conftest import ROOT

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


@pytest.fixture
def environment(
    needs_containers: None, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path], None]]:
    """Have localaws believe that its Python environment is another folder."""
    containers.refusal()  # found out with the real one

    def set_prefix(folder: Path) -> None:
        monkeypatch.setattr(sys, "prefix", str(folder))
        forget()

    def forget() -> None:
        container_view._shown.cache_clear()
        container_view._host.cache_clear()

    yield set_prefix
    monkeypatch.undo()
    forget()


def test_a_python_environment_in_tmp_is_seen_beside_the_containers_own_tmp(
    containers: Containers, tmp_path: Path, environment: Callable[[Path], None]
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # where people unpack a checkout
        (Path(place) / "pyvenv.cfg").touch()
        environment(Path(place))
        view = View(tmp_path / "root", {"/tmp": tmp_path})
        script = f"ls {place}; touch /tmp/mine; touch {place}/x 2>/dev/null || echo read-only"
        assert printed(containers, tmp_path, script, environment={}, view=view) == ["pyvenv.cfg", "read-only"]
    assert (tmp_path / "mine").exists()


def test_a_project_in_a_folder_that_is_shown_is_hidden_but_for_its_python(
    containers: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: Callable[[Path], None]
) -> None:
    opt = tmp_path / "opt"
    project = opt / "kennel"
    for name in (".kennel/aws/key", ".kennel/ledger", "runs/report", ".venv/pyvenv.cfg", "notes"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    monkeypatch.setattr(container_view, "CODE", opt)  # stands for /opt, where a test cannot write
    environment(project / ".venv")
    view = View(tmp_path / "root", {"/mnt": tmp_path}, home=project / ".kennel" / "aws")
    script = f"cd {project} && find . -type f; touch {project}/.venv/x 2>/dev/null || echo read-only"
    found = printed(containers, tmp_path, script, environment={}, view=view)
    assert found == ["./.venv/pyvenv.cfg", "read-only"]


@pytest.mark.parametrize(
    ("home", "hidden"),
    [
        ("/usr/.kennel/aws", "/usr/.kennel"),
        ("/opt/.kennel/aws", "/opt/.kennel"),
        ("/opt/kennel/.kennel/aws", "/opt/kennel"),
        ("/usr/src/app/.kennel/aws", "/usr/src/app"),
        ("/usr/src/app/aws", "/usr/src/app/aws"),
    ],
)
def test_what_programs_need_is_not_hidden_with_a_home(home: str, hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_view, "_shown", lambda: (Path("/usr"), Path("/opt"), Path("/opt/kennel")))
    assert container_view.hidden_with(Path(home)) == Path(hidden)


@pytest.mark.usefixtures("needs_containers")
def test_a_machine_without_containers_says_what_troubleshooting_explains(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from localaws.containers import Containers; from localaws.processes import ProcessTable; "
        "folder = pathlib.Path(sys.argv[1]); print(Containers(ProcessTable(folder, str(folder))).refusal() is None)"
    )
    limited = ["unshare", "-r", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
    command = [*limited, sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    said = "functions and model servers can read this user's files; they cannot have containers here"
    assert done.stdout == "False\n"
    assert done.stderr.startswith(f"localaws: {said}: ")
    assert said in " ".join((ROOT / "docs" / "troubleshooting.md").read_text().split())

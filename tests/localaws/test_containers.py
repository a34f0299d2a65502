"""Programs in containers get their variables and folders; what makes the container has nothing of theirs."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from localaws import container_view
from localaws.container_view import View
from localaws.containers import Containers, Program
from localaws.handover import NEEDED, handed_over
from localaws.processes import OWNER, PROCESS, Process, ProcessTable
from localaws.programs.container import HANDOVER
from tests.conftest import ROOT
from tests.localaws.sleepers import names, sleepers
from tests.polling import wait_until

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
    with handed_over({"variables": OF_THE_LOADER}) as (early, _):
        assert early.keys() <= {HANDOVER, *NEEDED}


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


def started(containers: Containers, folder: Path, script: str, lines: list[str]) -> Process:
    """Return a script that runs and has said its first line."""
    (folder / "root").mkdir()
    program = Program("script", ["/bin/sh", "-c", script], {"PATH": "/usr/bin:/bin"}, folder)
    process = containers.spawn(program, View(folder / "root", {"/mnt": folder}), on_line=lines.append)
    wait_until(lambda: lines)
    return process


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 7", 7), ("kill -KILL $$", -9), ("kill -SEGV $$", -11), ("kill -TERM $$", -15), ("nonesuch", 127)],
)
def test_a_program_ends_as_it_would_without_a_container(
    containers: Containers, tmp_path: Path, script: str, status: int
) -> None:
    assert started(containers, tmp_path, f"echo begun; {script}", []).wait(30) == status


def test_a_program_that_cannot_be_run_is_127(containers: Containers, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    lines: list[str] = []
    program = Program("none", ["/none"], {}, tmp_path)
    assert containers.spawn(program, View(tmp_path / "root", {"/mnt": tmp_path}), on_line=lines.append).wait(30) == 127
    assert lines == ["/none: No such file or directory"]


def test_sigterm_reaches_the_program_and_all_of_its_group_and_sigkill_follows(
    containers: Containers, tmp_path: Path
) -> None:
    lines: list[str] = []
    child = "trap 'echo child; exit' TERM; echo up; while :; do sleep 0.05; done"
    script = f"trap 'wait; echo parent; exit 3' TERM; sh -c \"{child}\" & wait"
    process = started(containers, tmp_path, script, lines)
    assert process.stop(30) == 3
    assert [line for line in lines if line != "Terminated"] == ["up", "child", "parent"]  # a sleep, say some shells


def test_a_program_that_ignores_sigterm_is_killed(containers: Containers, tmp_path: Path) -> None:
    script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    assert started(containers, tmp_path, script, []).stop(0.2) == -signal.SIGKILL


@pytest.mark.usefixtures("needs_containers")
def test_the_switches_of_the_kernel_are_read_only(containers: Containers, tmp_path: Path) -> None:
    script = "while read -r _ _ _ _ place options _; do echo $place $options; done < /proc/self/mountinfo"
    mounts = dict(line.split() for line in printed(containers, tmp_path, script, environment={}))
    guarded = [name for name in ("sys", "irq", "bus") if Path("/proc", name).is_dir()]
    assert all("ro" in mounts[f"/proc/{name}"].split(",") for name in guarded), mounts


@pytest.mark.usefixtures("needs_process_tables")
@pytest.mark.parametrize("how", ["exit", "stop", "kill"])
def test_a_daemon_ends_with_its_container(containers: Containers, tmp_path: Path, how: str) -> None:
    (number,) = names(1)
    daemon = f"setsid env -i sleep {number} >/dev/null 2>&1 &"
    process = started(containers, tmp_path, f"({daemon}) ; echo up; while [ ! -e /mnt/over ]; do sleep 0.02; done", [])
    wait_until(lambda: sleepers(number))
    if how == "exit":
        (tmp_path / "over").touch()
    elif how == "stop":
        process.stop(5)
    else:
        os.kill(process.pid, signal.SIGKILL)  # what starts the program, outside
    assert process.wait(30) == {"exit": 0, "stop": -signal.SIGTERM, "kill": -signal.SIGKILL}[how]
    wait_until(lambda: not sleepers(number))


@pytest.mark.usefixtures("needs_process_tables")
def test_the_program_is_known_outside_and_orphans_are_reaped(containers: Containers, tmp_path: Path) -> None:
    lines: list[str] = []
    script = "(sh -c 'sleep 0.1 & echo $!' &) ; while [ ! -e /mnt/over ]; do sleep 0.02; done"
    process = started(containers, tmp_path, script, lines)
    assert process.program_pid != process.pid
    assert psutil.Process(process.program_pid).cmdline()[:2] == ["/bin/sh", "-c"]
    wait_until(lambda: not [each for each in process.members() if each.status() == psutil.STATUS_ZOMBIE])
    first = psutil.Process(process.program_pid).parent()
    assert first is not None
    wait_until(lambda: len(first.children()) == 1)
    (tmp_path / "over").touch()
    assert process.wait(30) == 0


@pytest.mark.usefixtures("needs_process_tables")
def test_process_1_and_what_is_outside_hold_nothing_of_the_programs(containers: Containers, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    reading, writing = os.pipe()
    script = ["/bin/bash", "-c", f"echo said >&{writing}; exec {writing}>&-; sleep 600"]
    program = Program("closes", script, {"PATH": "/usr/bin:/bin"}, tmp_path, inherited=[writing])
    process = containers.spawn(program, View(tmp_path / "root", {"/mnt": tmp_path}))
    os.close(writing)
    assert [os.read(reading, 100) for _ in range(2)] == [b"said\n", b""], "and then nobody holds the other end"
    os.close(reading)
    process.stop(0.0)


@pytest.mark.usefixtures("needs_process_tables")
def test_without_process_tables_programs_have_containers_all_the_same(tmp_path: Path) -> None:
    """Inside another container, parts of /proc are mostly covered, and then the kernel lets nobody mount another."""
    code = (
        "import pathlib, sys; from localaws.containers import Containers; from localaws.processes import ProcessTable; "
        "folder = pathlib.Path(sys.argv[1]); found = Containers(ProcessTable(folder, str(folder))).refusals(); "
        "print(found.view is None, found.process_table is None)"
    )
    limited = ["unshare", "-r", "sh", "-c", 'echo 0 > /proc/sys/user/max_pid_namespaces && exec "$@"', "sh"]
    command = [*limited, sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    why = "they cannot have a process table of their own here"
    said = f"functions and model servers can see this user's processes; {why}"
    assert done.stdout == "True False\n"
    assert done.stderr.startswith(f"localaws: {said}: ")
    assert said in " ".join((ROOT / "docs" / "troubleshooting.md").read_text().split())

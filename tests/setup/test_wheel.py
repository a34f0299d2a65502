"""The wheel, built and installed without an index, from an empty folder, in an environment without the checkout.

The packages that kennel needs are those of the tests' own environment, by a .pth file. A .pth file's folder is not
searched for further .pth files, so the editable install of the checkout does not come with them.
"""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.model.code import build_lambda_zip, stage_training_code
from tests.kennel.photos import make_photos

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "1", "--views", "1", "--no-loadtest")


@dataclass(frozen=True)
class Installed:
    """An environment that kennel was installed in from its wheel, and an empty folder to run it in."""

    bin: Path
    folder: Path

    def run(self, program: str, *arguments: str) -> str:
        foreign = ("AWS_", "KENNEL_", "PREFECT_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        done = subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.folder,
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, f"{program} {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    environment, folder = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("empty")
    programs = environment / "bin"
    python("-m", "venv", "--without-pip", str(environment))
    install = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    python("-m", "pip", "--python", str(programs / "python"), *install, str(wheel))
    packages = environment / "lib" / "python3.11" / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (environment / "share").symlink_to(Path(sys.prefix) / "share")  # Prefect's database, which `kennel prepare` makes
    installed = Installed(programs, folder)
    yield installed
    installed.run("kennel", "down", "--yes")


def python(*arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_is_named_and_holds_the_functions_sources_in_tasks(wheel: Path) -> None:
    assert wheel.name == "kennel-0.1.0-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    rooms = {"kennel", "flows", "tasks", "training", "loadtest", "localaws"}
    assert {name.partition("/")[0] for name in names} == rooms | {"kennel_start.py", "kennel-0.1.0.dist-info"}
    assert {"tasks/lambda/classify/handler.py", "training/requirements.txt", "loadtest/locustfile.py"} <= set(names)
    assert "tasks/requirements.lock" in names, "workers of a load test install by its hashes"


def test_the_installed_kennel_is_the_wheels_and_starts_in_an_empty_folder(installed: Installed) -> None:
    found = installed.run("python", "-c", "import kennel, tasks, sys; print(kennel.__file__, tasks.__file__, sys.path)")
    assert found.count(str(installed.bin.parent)) >= 3 and f"'{ROOT}'" not in found
    assert installed.run("kennel", "--version") == "0.1.0\n"
    assert "Usage: kennel COMMAND" in installed.run("kennel", "--help")


def test_the_wheel_ships_the_same_bytes_as_the_checkout_and_names_no_commit(
    installed: Installed, tmp_path: Path
) -> None:
    script = f"""
        from pathlib import Path
        from tasks.model.code import build_lambda_zip, git_commit, stage_training_code
        folder = Path({str(tmp_path)!r})
        print(build_lambda_zip(folder / "theirs.zip"), stage_training_code(folder / "theirs"), git_commit())
    """
    here = (build_lambda_zip(tmp_path / "ours.zip"), stage_training_code(tmp_path / "ours"), "None")
    there = installed.run("python", "-c", "\n".join(line.strip() for line in script.splitlines()))
    assert tuple(there.split()) == here


@pytest.mark.slow
def test_a_run_trains_and_deploys_with_its_state_in_the_folder_it_was_started_in(
    installed: Installed, tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "colours")
    out = installed.run("kennel", "run", "--data", str(photos), "--run-id", "colours", *QUICK, "--json")
    answer = json.loads(out)
    assert answer["test_images"] == 12 and answer["function_alias"].endswith(":live")
    assert {path.name for path in installed.folder.iterdir()} == {".kennel", "runs"}
    assert "<td>commit</td><td>unknown</td>" in (installed.folder / "runs/colours/report.html").read_text()

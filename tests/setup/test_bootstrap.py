"""`bootstrap.sh` on other machines than this one: made up of a PATH with stand-ins, in a folder of its own.

No test reaches a network: pip installs a stand-in for uv from a folder, and the real uv is offline. So the download of
a managed Python 3.11, which is uv's own work, is not tested; that its failure is explained is.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "dirname", "uname", "getconf", "cmp", "cp", "rm", "mkdir", "touch", "chmod")
STAND_IN_FOR_UV = """#!/bin/sh
echo "$@" > asked-of-uv
mkdir -p .venv/bin && printf '#!/bin/sh\\nexit 0\\n' > .venv/bin/python && chmod +x .venv/bin/python
"""


class Machine:
    """A checkout's bootstrap files, and a PATH that holds a few tools and what a test adds."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.path = folder / "path"
        self.wheels = folder / "wheels"
        for each in (self.checkout, self.path, self.wheels):
            each.mkdir()
        shutil.copy(ROOT / "bootstrap.sh", self.checkout)
        for tool in TOOLS:
            program = shutil.which(tool)
            assert program is not None, f"{tool} is not on PATH"
            (self.path / tool).symlink_to(program)

    def put(self, name: str, script: str) -> None:
        """Put a shell script on the PATH, in the place of the tool of that name."""
        (self.path / name).unlink(missing_ok=True)
        (self.path / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.path / name).chmod(0o755)

    def offer_uv(self, *, sha256: str | None = None) -> None:
        """Write a wheel of the stand-in for uv, and the lock that names it."""
        wheel = self.wheels / "uv-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            script = zipfile.ZipInfo("uv-1.0.data/scripts/uv")
            script.external_attr = 0o100755 << 16
            archive.writestr(script, STAND_IN_FOR_UV)
            archive.writestr("uv-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 1.0\n")
            archive.writestr("uv-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr("uv-1.0.dist-info/RECORD", "")
        digest = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
        (self.checkout / "bootstrap.lock").write_text(f"uv==1.0 --hash=sha256:{digest}\n")

    def have_real_uv(self) -> None:
        """Put the uv of this checkout where the bootstrap has already installed it."""
        program = ROOT / ".uv" / "bin" / "uv"
        if not program.is_file():
            pytest.skip(f"{program} is not there: this environment was not made by `make setup`")
        (self.checkout / ".uv" / "bin").mkdir(parents=True)
        (self.checkout / ".uv" / "bin" / "uv").symlink_to(program)
        for folder in (self.checkout, self.checkout / ".uv"):
            shutil.copy(ROOT / "bootstrap.lock", folder)

    def bootstrap(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script, with nothing but its folders in the environment."""
        offline = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
            "UV_OFFLINE": "1",
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_INSTALL_DIR": str(self.checkout / "pythons-of-uv"),
            "UV_CACHE_DIR": str(self.checkout / "cache"),
        }
        return subprocess.run(
            [str(self.checkout / "bootstrap.sh")],
            env={"PATH": str(self.path), "HOME": str(self.checkout), **offline, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def files(self) -> set[str]:
        return {file.name for file in self.checkout.iterdir()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def other_python(*, at_least: tuple[int, int]) -> str:
    """Return a Python of this machine that is not 3.11 and has pip, from PATH or pyenv; skips the test without one."""
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = [f"python3.{minor}" for minor in range(9, 20) if minor != 11]
    candidates = [*filter(None, map(shutil.which, named)), *map(str, installed.glob("*/bin/python3"))]
    probe = f"import pip, sys; sys.exit(not {at_least} <= sys.version_info[:2] != (3, 11))"
    for python in candidates:
        if subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip(f"this machine has no Python with pip, {at_least} or later, other than 3.11")


@pytest.mark.parametrize(("system", "machine_name"), [("Darwin", "arm64"), ("Linux", "aarch64"), ("Darwin", "x86_64")])
def test_another_platform_is_refused_before_anything_is_downloaded(
    machine: Machine, system: str, machine_name: str
) -> None:
    machine.put("uname", f'[ "$1" = -s ] && echo {system} || echo {machine_name}')
    machine.put("python3.11", 'touch "$HOME/python-was-run"')
    answer = machine.bootstrap()
    assert answer.returncode == 1 and machine.files() == {"bootstrap.sh"}
    assert answer.stderr == (
        "kennel: kennel runs on Linux on x86-64 with glibc 2.28 or later; "
        f"this machine is {system} on {machine_name}. Nothing was downloaded.\n"
    )


@pytest.mark.parametrize(
    ("getconf", "said"),
    [("echo glibc 2.17", "this machine has glibc 2.17"), ("exit 1", "this machine's C library is not glibc")],
)
def test_an_old_or_another_c_library_is_refused(machine: Machine, getconf: str, said: str) -> None:
    machine.put("getconf", getconf)
    answer = machine.bootstrap()
    assert answer.returncode == 1 and said in answer.stderr and machine.files() == {"bootstrap.sh"}


def test_without_any_python_the_names_that_were_tried_are_said(machine: Machine) -> None:
    answer = machine.bootstrap()
    assert answer.returncode == 1
    assert "Looked at: python3.11 (none) python3 (none) python (none)." in answer.stderr
    assert "make setup PYTHON=/path/to/python3" in answer.stderr


def test_a_python_that_is_too_old_is_named_with_its_version(machine: Machine) -> None:
    machine.put("python3", 'case "$2" in *exit*) exit 1;; *) echo 3.8.20;; esac')
    answer = machine.bootstrap()
    assert answer.returncode == 1 and "python3 (3.8.20)" in answer.stderr


def test_a_python_without_pip_is_named_as_such(machine: Machine) -> None:
    machine.put("python3", 'case "$1" in -m) exit 1;; esac')
    answer = machine.bootstrap()
    assert answer.returncode == 1 and "python3 (has no pip)" in answer.stderr


def test_a_python_3_11_installs_uv_and_becomes_the_environment(machine: Machine) -> None:
    machine.offer_uv()
    answer = machine.bootstrap(PYTHON=sys.executable)
    assert answer.returncode == 0, answer.stderr
    assert f"--python {sys.executable} .venv" in (machine.checkout / "asked-of-uv").read_text()


def test_another_python_installs_uv_and_uv_is_asked_for_3_11(machine: Machine) -> None:
    machine.offer_uv()
    answer = machine.bootstrap(PYTHON=other_python(at_least=(3, 9)))
    assert answer.returncode == 0, answer.stderr
    assert "--python cpython-3.11 .venv" in (machine.checkout / "asked-of-uv").read_text()


def test_a_second_time_nothing_is_installed_again(machine: Machine) -> None:
    machine.offer_uv()
    assert machine.bootstrap(PYTHON=sys.executable).returncode == 0
    shutil.rmtree(machine.wheels)
    (machine.checkout / "asked-of-uv").unlink()
    answer = machine.bootstrap(PYTHON=sys.executable)
    assert answer.returncode == 0, answer.stderr
    assert "asked-of-uv" not in machine.files()


def test_a_uv_with_another_hash_is_refused(machine: Machine) -> None:
    machine.offer_uv(sha256="0" * 64)
    answer = machine.bootstrap(PYTHON=sys.executable)
    assert answer.returncode == 1 and ".venv" not in machine.files()
    assert "DO NOT MATCH THE HASHES" in answer.stderr and "pip could not install uv" in answer.stderr


def test_the_real_uv_finds_a_python_3_11_on_path(machine: Machine) -> None:
    machine.have_real_uv()
    (machine.path / "python3").symlink_to(other_python(at_least=(3, 9)))
    (machine.path / "python3.11").symlink_to(os.path.realpath(sys.executable))
    answer = machine.bootstrap(PYTHON="python3")
    assert answer.returncode == 0, answer.stderr
    environment = subprocess.run([machine.checkout / ".venv/bin/python", "-V"], capture_output=True, text=True)
    assert environment.stdout.startswith("Python 3.11.")


def test_offline_and_without_a_python_3_11_it_says_what_was_looked_for_and_what_to_do(machine: Machine) -> None:
    machine.have_real_uv()
    (machine.path / "python3").symlink_to(other_python(at_least=(3, 9)))
    answer = machine.bootstrap()
    assert answer.returncode == 1 and ".venv" not in machine.files()
    assert "uv could not download one" in answer.stderr
    assert "Looked for python3.11, python3 and python on PATH" in answer.stderr
    assert "Install python3.11, or name one: make setup PYTHON=/path/to/python3.11" in answer.stderr

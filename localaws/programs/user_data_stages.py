"""Runs an instance's user data, which the server has parsed, in cloud-init's early and late stages.

Early, before the SSH server: `bootcmd` (at each boot) and `write_files`. Late, beside it: `runcmd` and scripts. All but
`bootcmd` run only at an instance's first boot. Writes below `root` and runs the commands it is given.
"""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from localaws.programs.layout import CLOUD

SHELL = "/bin/sh"


def run_early(plan: dict[str, Any], root: Path) -> int:
    """Run `bootcmd` and write the files; return 0 unless something failed."""
    place = root / CLOUD / "instances" / plan["instance_id"]
    (place / "scripts").mkdir(parents=True, exist_ok=True)
    _point_to(root / CLOUD / "instance", place)
    (place / "boot-finished").unlink(missing_ok=True)
    _say(plan, "init")
    for notice in plan["notices"]:
        print(f"localaws: {notice}", flush=True)
    failures = []
    if plan["bootcmd"]:
        failures += _run_script(plan, place / "scripts" / "bootcmd", plan["bootcmd"])
    if _is_first(place, "write_files"):
        for file in plan["files"]:
            failures += _write(root, file)
    (place / "failures.json").write_text(json.dumps(failures))
    return 1 if failures else 0


def run_late(plan: dict[str, Any], root: Path) -> int:
    """Run `runcmd` and the scripts, and leave the marks of a finished boot; return 0 unless something failed."""
    place = root / CLOUD / "instances" / plan["instance_id"]
    _say(plan, "modules:final")
    print(plan["host_key_report"], flush=True)
    failures: list[str] = json.loads((place / "failures.json").read_text())
    if _is_first(place, "scripts_user"):
        for name, text in plan["scripts"]:
            failures += _run_script(plan, place / "scripts" / name, text)
    _finish(plan, place, failures)
    return 1 if failures else 0


def _point_to(link: Path, place: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(place)


def _is_first(place: Path, what: str) -> bool:
    """Return whether this has not been done for this instance, and have it done from now on."""
    mark = place / "sem" / f"config_{what}"
    mark.parent.mkdir(exist_ok=True)
    if mark.exists():
        return False
    mark.touch()
    return True


def _say(plan: dict[str, Any], stage: str) -> None:
    print(f"Cloud-init v. {plan['version']} running '{stage}' at {_now()}.", flush=True)


def _now() -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())


def _run_script(plan: dict[str, Any], path: Path, text: str) -> list[str]:
    path.write_text(text)
    path.chmod(0o700)
    try:
        status = subprocess.run(
            [str(path)], env={**os.environ, **plan["environment"]}, stdin=subprocess.DEVNULL, check=False
        ).returncode
    except OSError as error:  # no "#!", an interpreter that is not there
        print(f"{path}: {error.strerror}", flush=True)
        status = 127
    if status == 0:
        return []
    failure = f"{path.name} ended with status {status}"
    print(f"cloud-init: Failed to run {path}: it ended with status {status}", flush=True)
    return [failure]


def _write(root: Path, file: dict[str, Any]) -> list[str]:
    path = root / file["path"].lstrip("/")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if file["append"] else "wb") as stream:
            stream.write(base64.b64decode(file["content"]))
        path.chmod(int(file["permissions"], 8))
    except OSError as error:
        print(f"cloud-init: write_files: {file['path']}: {error.strerror}", flush=True)
        return [f"write_files {file['path']}: {error.strerror}"]
    return []


def _finish(plan: dict[str, Any], place: Path, failures: list[str]) -> None:
    uptime = time.time() - plan["booted"]
    result = {"v1": {"datasource": "DataSourceEc2Local", "errors": failures}}
    (place / "result.json").write_text(json.dumps(result))
    line = (
        f"Cloud-init v. {plan['version']} finished at {_now()}. Datasource DataSourceEc2Local.  Up {uptime:.2f} seconds"
    )
    print(line, flush=True)
    part = place / "boot-finished.part"
    part.write_text(f"{uptime:.2f} - {_now()} - v. {plan['version']}\n")
    part.replace(place / "boot-finished")

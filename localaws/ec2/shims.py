"""Writes the programs that replace the host's inside an instance: those that control power, `sudo` and `cloud-init`."""

import shlex
import sys
from pathlib import Path

from localaws.programs.layout import CLOUD, POWER_NAMES

SUDO = """#!/bin/sh
# Stands in for sudo: an instance has one user, who may do everything already.
while [ $# -gt 0 ]; do
    case "$1" in
        -n|-E|-H|-S|-P|-k|-b|-i|-s|--non-interactive|--preserve-env*|--set-home|--login|--shell) shift ;;
        -u|-g|--user|--group) shift 2 ;;
        --) shift; break ;;
        -*) echo "sudo: $1 is not emulated by localaws" >&2; exit 1 ;;
        [A-Za-z_]*=*) export "$1"; shift ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || exec "${SHELL:-/bin/sh}"
exec "$@"
"""
CLOUD_INIT = """#!/bin/sh
# Stands in for cloud-init: tells whether the instance's user data has been run.
[ "$1" = status ] || { echo "cloud-init: '$1' is not emulated by localaws" >&2; exit 2; }
shift
place=@CLOUD@/instance
for option in "$@"; do
    case "$option" in
        --wait|-w) until [ -f "$place/boot-finished" ]; do printf .; sleep 0.1; done; echo ;;
        --long|-l|--format=*) echo "cloud-init: $option is not emulated by localaws" >&2; exit 2 ;;
    esac
done
[ -f "$place/boot-finished" ] || { echo "status: running"; exit 0; }
grep -q '"errors": \\[\\]' "$place/result.json" && { echo "status: done"; exit 0; }
echo "status: error"
exit 1
"""
POWER = """#!/bin/sh
# Stands in for the programs that control power: acts on this instance only.
exec @PYTHON@ -I -S @PROGRAMS@ power @FOLDER@ "${0##*/}" "$@"
"""


def write(folder: Path, *, root: str, programs: str, run: str) -> None:
    """Write the stand-ins into `folder`; `root` is "" or what stands before an instance's paths where they are run."""
    folder.mkdir(exist_ok=True)
    power = POWER
    for name, value in (("PYTHON", sys.executable), ("PROGRAMS", programs), ("FOLDER", f"{root}{run}")):
        power = power.replace(f"@{name}@", shlex.quote(value))
    cloud_init = CLOUD_INIT.replace("@CLOUD@", shlex.quote(f"{root}/{CLOUD}"))
    for name, text in {"sudo": SUDO, "cloud-init": cloud_init, **dict.fromkeys(POWER_NAMES, power)}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o700)

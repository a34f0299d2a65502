"""Rewrites the paths in commands and scripts of an instance that has no disk of its own to where its files really are.

Covered are the absolute paths that this project and similar ones use: the user's home, temporary files, the Python
environment, cloud-init's folder and log, and the programs that control power, which must never be the real machine's.
"""

import re
from pathlib import Path

from localaws.programs.layout import CLOUD, ENVIRONMENT, OUTPUT_LOG, POWER_NAMES, SHIMS, USER_HOME

MOVED = (USER_HOME, "/tmp", "/var/tmp", ENVIRONMENT, f"/{CLOUD}", f"/{OUTPUT_LOG}")  # noqa: S108 the instance's own
NOT_BEFORE, NOT_AFTER = r"(?<![\w./~-])", r"(?![\w.-])"
FOLDERS = re.compile(f"{NOT_BEFORE}({'|'.join(map(re.escape, MOVED))}){NOT_AFTER}")
PROGRAMS = re.compile(rf"{NOT_BEFORE}(?:/usr)?(?:/local)?/s?bin/({'|'.join((*POWER_NAMES, 'sudo'))}){NOT_AFTER}")


def rewrite(text: str, root: Path) -> str:
    """Return a command or script with the paths of an instance whose folder is `root`."""
    moved = FOLDERS.sub(lambda match: f"{root}{match[1]}", text)
    return PROGRAMS.sub(lambda match: f"{root}{SHIMS}/{match[1]}", moved)


def real_path(path: str, root: Path) -> str:
    """Return where one absolute path of the instance is."""
    return f"{root}{path}" if FOLDERS.match(path) else path

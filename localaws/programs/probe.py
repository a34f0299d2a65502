"""Finds out, by trying, whether an instance on this host can have a disk, processes and a user of its own.

Config: `user_namespace`, a descriptor, and `root`, `prefix`, `base_prefix`, `programs` and `shims` as an instance has
them. The exit status is 0 if so; otherwise the last line says what was refused.
"""

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localaws.programs import container, disk, namespaces
from localaws.programs.call_filter import call_filter
from localaws.programs.layout import USER_ID


def main(arguments: Sequence[str]) -> int:
    """Do once what every instance does; return the exit status."""
    config = json.loads(arguments[0])
    namespaces.enter(config["user_namespace"], namespaces.CLONE_NEWUSER)
    namespaces.unshare(namespaces.OF_A_MACHINE | namespaces.CLONE_NEWNET)
    socket.sethostname("probe")
    child = os.fork()
    if child == 0:
        os._exit(_try(config))
    return namespaces.exit_status(os.waitpid(child, 0)[1])


def _try(config: dict[str, Any]) -> int:
    try:
        paths = {name: Path(config[name]) for name in ("prefix", "base_prefix", "programs", "shims")}
        disk.enter(Path(config["root"]), **paths)
        container.refuse_calls(call_filter())
        namespaces.unshare(namespaces.CLONE_NEWUSER)
        namespaces.map_user(USER_ID, outside_user=0, outside_group=0)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr, flush=True)
        return 1
    return 0

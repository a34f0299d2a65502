"""Programs that localaws starts as separate processes: networks, EC2 instances and what runs in them, training
hosts, training scripts.

They are run as `python -I -S localaws/programs NAME JSON`. They import the standard library and each other and nothing
else of localaws, so that they start in 0.05 s; `gateway` (pyroute2), `ssh_server` (asyncssh) and `script_mode`
(boto3) also import packages.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent


def launch_command(name: str, config: Mapping[str, object], *, with_packages: bool = False) -> list[str]:
    """Return the command that runs the program `name` with `config`, `with_packages` those of this environment."""
    options = ["-I"] if with_packages else ["-I", "-S"]
    return [sys.executable, *options, str(FOLDER), name, json.dumps(config)]

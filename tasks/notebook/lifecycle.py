"""Create the lifecycle configuration of a run's notebook instance, which installs the idle check at every start.

The on-start script contains `tasks/notebook/idle.py`, so nothing is downloaded at start. A systemd timer runs the check
every five minutes, on Amazon Linux 2 and 2023 (2023 has no cron). An instance on which the check cannot run does not
start, because it would be billed without end.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.account.lookup import none_if_missing, refuse_foreign, shown_tags, tags_to_dict
from tasks.notebook.role import notebook_name
from tasks.run import naming
from tasks.run.errors import SettingsRefused
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.waiting import say

SCRIPT_LIMIT = 16_384
"""The number of base64 characters that AWS allows."""

JUPYTER = "https://localhost:8443"
IDLE_SOURCE = Path(__file__).with_name("idle.py")
_END = "END_OF_NOTEBOOK_IDLE"

_SCRIPT = """#!/bin/bash
# Made by kennel. Runs as root at every start; stops this notebook instance after {idle_minutes} idle minutes.
set -euo pipefail
folder={root}/opt/kennel
mkdir -p "$folder" {root}/var/log {root}/run
cat > "$folder/notebook_idle.py" <<'{end}'
{source}{end}
python=
for candidate in python3 /usr/bin/python3.? /usr/bin/python3.?? /home/ec2-user/anaconda3/envs/*/bin/python; do
    if "$candidate" -c 'import sys, boto3; sys.exit(sys.version_info < (3, 8))' 2> /dev/null; then
        python=$(command -v "$candidate")
        break
    fi
done
if [ -z "$python" ]; then
    echo "kennel: the instance is not started: it has no Python 3.8 with boto3, so it could not stop when idle" >&2
    exit 1
fi
check="$python $folder/notebook_idle.py {arguments}"
$check --dry-run
systemd-run --unit=kennel-notebook-idle --on-calendar='*:0/5' --setenv=HOME=/root \\
    /bin/sh -c "exec $check >> {root}/var/log/jupyter.log 2>&1"
systemctl is-active --quiet kennel-notebook-idle.timer
"""


def lifecycle_name(run_id: str) -> str:
    """Return the name of a run's lifecycle configuration."""
    return naming.resource_name(run_id, "idle-stop")


def on_start_script(name: str, region: str, idle_minutes: int, *, jupyter: str = JUPYTER, root: str = "") -> str:
    """Return the on-start script of an instance; `root` is a prefix of the paths that it writes to, for tests."""
    arguments = ["--name", name, "--region", region, "--idle-minutes", str(idle_minutes), "--jupyter", jupyter]
    return _SCRIPT.format(
        idle_minutes=idle_minutes,
        root=shlex.quote(root) if root else "",
        end=_END,
        source=IDLE_SOURCE.read_text(),
        arguments=shlex.join([*arguments, "--state", f"{root}/run/kennel-notebook-idle"]),
    )


def encode_script(script: str) -> str:
    """Return a script in base64, as AWS requires it.

    Raises:
        SettingsRefused: the script is longer than AWS allows.
    """
    content = base64.b64encode(script.encode()).decode()
    if len(content) > SCRIPT_LIMIT:
        why = f"AWS allows {SCRIPT_LIMIT} characters of base64"
        raise SettingsRefused("notebook: lifecycle script", f"{len(content)} characters", why, f"shorten {IDLE_SOURCE}")
    return content


def ensure_lifecycle(run: Run, *, idle_minutes: int) -> str:
    """Create the run's lifecycle configuration, or adopt it and update its script; return its name.

    A changed script takes effect at the instance's next start.

    Raises:
        OwnershipRefused: a configuration of that name exists and does not have this run's tags.
        SettingsRefused: the script is longer than AWS allows.
        ClientError: SageMaker refused a call; the caller translates it.
    """
    sagemaker, name = run.aws.client("sagemaker"), lifecycle_name(run.id)
    wanted = [{"Content": encode_script(on_start_script(notebook_name(run.id), run.aws.region, idle_minutes))}]
    field = {"NotebookInstanceLifecycleConfigName": name}
    found = _own_lifecycle(run, name)
    if found is None:
        with run.ledger.create("notebook-lifecycle", name, lambda: _arn(_own_lifecycle(run, name))) as row:
            answer = sagemaker.create_notebook_instance_lifecycle_config(
                **field, OnStart=wanted, Tags=run.aws.tag_list(run.id)
            )
            row.identifier = answer["NotebookInstanceLifecycleConfigArn"]
        return name
    run.ledger.adopt("notebook-lifecycle", name, _arn(found))
    if found.get("OnStart") != wanted:
        repeated_if_lost(lambda: sagemaker.update_notebook_instance_lifecycle_config(**field, OnStart=wanted))
        say(f"notebook-lifecycle {name}: the script was updated; it takes effect at the instance's next start")
    return name


def _own_lifecycle(run: Run, name: str) -> Mapping[str, Any] | None:
    """Return the description of the run's configuration, or None without one; refuse a foreign one."""
    sagemaker, field = run.aws.client("sagemaker"), {"NotebookInstanceLifecycleConfigName": name}
    found: Mapping[str, Any] | None = none_if_missing(
        lambda: sagemaker.describe_notebook_instance_lifecycle_config(**field)
    )
    if found is not None:
        arn, what = found["NotebookInstanceLifecycleConfigArn"], f"notebook-lifecycle {name}"
        tags = shown_tags(run.aws, what, lambda: tags_to_dict(sagemaker.list_tags(ResourceArn=arn)["Tags"]))
        refuse_foreign(what, tags, run.id, next_command="kennel notebook create <another run>")
    return found


def _arn(found: Mapping[str, Any] | None) -> str | None:
    return None if found is None else str(found["NotebookInstanceLifecycleConfigArn"])

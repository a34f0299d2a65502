"""What is different in a flow run's own process, which a Prefect worker starts: no command watches the embedded AWS."""

from __future__ import annotations

import functools
import os

from tasks.run.localaws_watch import LocalAwsWatch
from tasks.run.settings import Settings, is_loopback
from tasks.run.waiting import say

_OF_A_RUNNER = "PREFECT__FLOW_RUN_ID"
"""The variable that Prefect's runner sets in the process of a flow run."""


def is_of_a_runner() -> bool:
    """Tell whether this process runs one flow of a worker; another one may go on with other flows."""
    return _OF_A_RUNNER in os.environ


@functools.cache
def watch_aws() -> None:
    """In a runner's process, say from now on when the AWS on this machine does not answer or has ended.

    Raises:
        SettingsRefused: a setting is out of bounds.
    """
    url = Settings.load().endpoint_url if is_of_a_runner() else None
    if url is not None and is_loopback(url):
        LocalAwsWatch(url, None, say, tells_end=True).start()

"""The work pool `kennel` that prefect.yaml's deployments go to: flow runs as processes on this machine.

The prepared database has it, so that `kennel up` asks one question over HTTP and imports no Prefect client (1.7 s of
CPU); only a server with another database has it created here.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request

NAME = "kennel"
TYPE = "process"
ANSWER_SECONDS = 10.0


def ensure() -> bool:
    """Create the pool on the server that PREFECT_API_URL names, unless it is there; tell whether it was missing."""
    return not _exists(os.environ["PREFECT_API_URL"]) and create()


def create() -> bool:
    """Create the pool where this process's Prefect settings say; tell whether it was missing."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    pool = WorkPoolCreate(name=NAME, type=TYPE, base_job_template=ProcessWorker.get_default_base_job_template())
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(pool)
        except ObjectAlreadyExists:
            return False
    return True


def _exists(api_url: str) -> bool:
    """Ask without Prefect's client; a server that wants more than the question (a key) is asked by the client."""
    try:
        with urllib.request.urlopen(f"{api_url}/work_pools/{NAME}", timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


if __name__ == "__main__":
    create()

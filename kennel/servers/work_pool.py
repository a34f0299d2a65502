"""Creates the work pool `kennel`, which runs the deployments of prefect.yaml as processes on this machine.

The prepared database contains the pool, so `kennel up` only asks over HTTP whether it exists and does not import
Prefect's client, which takes 1.7 s of CPU. The pool is created only on a server with another database.
"""

from __future__ import annotations

import base64
import http.client
import os
import urllib.request

NAME = "kennel"
TYPE = "process"
ANSWER_SECONDS = 10.0


def ensure() -> bool:
    """Create the pool on the server that PREFECT_API_URL names, unless it exists; tell whether it was created."""
    return not _exists(os.environ["PREFECT_API_URL"], os.environ.get("PREFECT_API_AUTH_STRING", "")) and create()


def create() -> bool:
    """Create the pool on the server of this process's Prefect settings; tell whether it was created."""
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


def _exists(api_url: str, password: str) -> bool:
    """Ask over HTTP whether the pool exists; False also when the server needs a key, which only the client sends."""
    headers = {"Authorization": f"Basic {base64.b64encode(password.encode()).decode()}"} if password else {}
    try:
        request = urllib.request.Request(f"{api_url}/work_pools/{NAME}", headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (http.client.HTTPException, OSError, ValueError):
        return False


if __name__ == "__main__":
    create()

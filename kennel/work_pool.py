"""The work pool `kennel` that prefect.yaml's deployments go to: flow runs as processes on this machine."""

from __future__ import annotations

NAME = "kennel"
TYPE = "process"


def import_client() -> None:
    """Import what `ensure` needs (seconds of CPU)."""
    import prefect.client.orchestration
    import prefect.workers.process  # noqa: F401


def ensure() -> bool:
    """Create the pool on the server that PREFECT_API_URL names; tell whether it was missing."""
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

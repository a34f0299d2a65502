"""Create, start and stop a run's notebook instance, and write its new state to the run's record."""

from __future__ import annotations

from dataclasses import replace

from tasks.account.prices import choose_notebook_instance
from tasks.account.roles import ensure_role
from tasks.notebook.instance import ensure_notebook, start_notebook, stop_notebook
from tasks.notebook.records import NotebookPlan, NotebookRef, NotebookState
from tasks.notebook.role import notebook_role
from tasks.run.handle import Run
from tasks.run.records import DatasetRef
from tasks.run.waiting import say


def create(run: Run, instance_type: str | None, idle_minutes: int) -> NotebookState:
    """Create the role, the lifecycle configuration and the instance, or adopt them.

    Raises:
        SettingsRefused, StageFailed, WaitTimedOut, OwnershipRefused, AwsFailed: as `ensure_notebook`.
    """
    instance = choose_notebook_instance(run.aws.region, instance_type)
    say(f"notebook: {instance.instance_type}: {instance.reason}; it stops after {idle_minutes} idle minutes")
    role = notebook_role(run.aws, run.id, run.find(DatasetRef))
    plan = NotebookPlan(run.id, ensure_role(run, role), instance, idle_minutes)
    made, kept = ensure_notebook(run, plan), run.find(NotebookRef)
    is_same = kept is not None and kept.state.created == made.state.created
    run.keep(replace(made, seconds=kept.seconds) if kept and is_same else made)
    say(f"notebook {made.state.name}: {made.state.status}")
    return made.state


def start(run: Run) -> NotebookState:
    """Start the run's instance.

    Raises:
        SettingsRefused, StageFailed, WaitTimedOut, OwnershipRefused, AwsFailed: as `start_notebook`.
    """
    return _recorded(run, start_notebook(run.aws, run.id))


def stop(run: Run) -> NotebookState:
    """Stop the run's instance.

    Raises:
        SettingsRefused, StageFailed, WaitTimedOut, OwnershipRefused, AwsFailed: as `stop_notebook`.
    """
    return _recorded(run, stop_notebook(run.aws, run.id))


def _recorded(run: Run, state: NotebookState) -> NotebookState:
    """Write the new state to the run's record, if `create` has written one."""
    kept = run.find(NotebookRef)
    if kept is not None:
        run.keep(replace(kept, state=state))
    say(f"notebook {state.name}: {state.status}")
    return state

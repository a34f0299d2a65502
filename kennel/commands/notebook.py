"""`kennel notebook create | list | start | stop`: manages a run's notebook instance.

The address of a notebook is a secret: it is printed only on request, and is not written to any file.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from kennel.commands.flow_run import run_flow
from kennel.commands.interrupted import handle_interrupts
from kennel.servers import environment
from kennel.terminal.console import begin, print_json, print_table, say
from kennel.terminal.stages import SERVERS
from tasks.run.errors import SettingsRefused


def create(run_id: str, *, instance_type: str | None, idle_minutes: int, with_url: bool, as_json: bool) -> int:
    """Create or adopt the run's notebook instance; the local servers are started when no AWS is named.

    Raises:
        KennelError: the kind that flows/notebook.py names.
    """
    parameters = {"run_id": run_id, "action": "create", "instance_type": instance_type, "idle_minutes": idle_minutes}
    return _act(parameters, with_url=with_url, as_json=as_json)


def change(run_id: str, action: Literal["start", "stop"], *, with_url: bool, as_json: bool) -> int:
    """Start or stop the run's notebook instance.

    Raises:
        SettingsRefused: no AWS is named, and the embedded AWS does not run.
        KennelError: the kind that flows/notebook.py names.
    """
    _require_running()
    return _act({"run_id": run_id, "action": action}, with_url=with_url, as_json=as_json)


def show(run_id: str | None, *, as_json: bool) -> int:
    """Print the notebook instances of one run or of all runs; this needs no Prefect server.

    Raises:
        SettingsRefused: no AWS is named, and the embedded AWS does not run.
        AwsFailed: SageMaker refused.
    """
    _require_running()
    from tasks.notebook.instance import list_notebooks
    from tasks.run.aws import Aws
    from tasks.run.settings import Settings

    states = list_notebooks(Aws(Settings.load()), run_id)
    _print("list", states, url=None, as_json=as_json)
    return 0


def _act(parameters: dict[str, Any], *, with_url: bool, as_json: bool) -> int:
    begin("kennel notebook", (SERVERS,))
    handle_interrupts()
    where = environment.start_servers(meanwhile=lambda: environment.import_flow("flows.notebook"))
    say(f"AWS: {where.description}")
    if where.target.runs_on_this_machine:
        say("the embedded AWS keeps a notebook instance's state only: it runs no Jupyter, and no instance gets idle")
    from prefect.exceptions import ParameterTypeError

    from flows.notebook import notebook
    from tasks.notebook.instance import presigned_url
    from tasks.run.aws import Aws
    from tasks.run.settings import Settings

    try:
        report = run_flow(notebook(**parameters), where)
    except ParameterTypeError as error:
        refused = "kennel notebook"
        raise SettingsRefused(refused, "an argument is out of bounds", str(error), f"{refused} --help") from error
    url = presigned_url(Aws(Settings.load()), parameters["run_id"]).get_secret_value() if with_url else None
    _print(report.action, report.notebooks, url=url, as_json=as_json)
    return 0


def _print(action: str, states: tuple[Any, ...], *, url: str | None, as_json: bool) -> None:
    if as_json:
        address = {} if url is None else {"url": url}
        print_json({"action": action, "notebooks": [asdict(state) for state in states], **address})
        return
    for state in states:
        print_table(state.name, _rows(state, url))
    if not states:
        say("there are no notebook instances")


def _rows(state: Any, url: str | None) -> dict[str, str]:
    price = "unknown price" if state.usd_per_hour is None else f"about {state.usd_per_hour:.2f} USD an hour"
    rows = {
        "run": state.run_id,
        "status": state.status if state.failure_reason is None else f"{state.status}: {state.failure_reason}",
        "type": f"{state.instance_type}, {price} while InService",
        "created": state.created,
    }
    return rows if url is None else {**rows, "address": url}


def _require_running() -> None:
    if environment.connect_to_running() is None:
        why = "its notebook instances ended with it"
        raise SettingsRefused("notebook", "localaws does not run", why, "kennel notebook create <run>")

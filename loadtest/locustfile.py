"""Locust's entry point: send an open-model load to a SageMaker endpoint or the alias of a Lambda function.

    KENNEL_LOADTEST_PLAN=plan.json python -m locust -f loadtest/locustfile.py --headless --html report.html --csv locust

Each Locust process (a single one, or each worker of `--processes`) runs one user, which is the load generator of that
process. It reports each measured result to Locust's statistics. When all results have arrived, Locust's HTML and CSV
are set to the figures of `loadtest.json`: latencies from the intended start, of the answered requests only.

On several machines (`kennel loadtest --workers`, tasks/load/workers) each has Locust's `--worker`, and the master is
here. All have the same plan, except for the paths of the images; its `processes` is the number of all generators. The
master writes the result. Each worker has its own seed and the same share of the rate, and all begin at one moment
(loadtest/gathering.py). A run of which a generator is missing is void.

Without `--headless` (`kennel loadtest --ui`), Locust's page has a Start button and fields for the plan's rate and
seconds. Each press of the button runs the whole schedule, and the result of the last run is written at the end.

The exit code is 1 when the run is void or failed (`loadtest.json` has the reasons), and 3 when there is no result.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import flask
import gevent
import locust.stats
from botocore.credentials import ReadOnlyCredentials
from locust import LoadTestShape, User, events, task
from locust.runners import MasterRunner, WorkerRunner

from loadtest.arrivals import poisson_arrivals
from loadtest.connection import Connection
from loadtest.gathering import READY_MESSAGE, START_MESSAGE, Gathering, Starting
from loadtest.locust_page import METHOD, show_result
from loadtest.open_loop import Bounds, OpenLoop, Wire
from loadtest.outcomes import Outcome
from loadtest.page_form import add_style, form_error, plan_from_form
from loadtest.plan import PLAN_VARIABLE, Plan, read_plan
from loadtest.signing import Signer
from loadtest.summary import summary, write_summary
from loadtest.tally import Tally, merged
from loadtest.timeline import CHARTED
from tasks.run.assumed_credentials import keep_assumed_credentials
from tasks.run.escaping import terminal_text
from tasks.run.web_pages import foreign_page

PLAN = read_plan(Path(os.environ[PLAN_VARIABLE]))
RESULT_MESSAGE = "kennel_result"
BROKEN_MESSAGE = "kennel_broken"
PROGRESS_SECONDS = 2.0
START_SECONDS = 30.0
"""The time that processes may take, beyond the run's deadline, to start and to send their results."""

_HAS_NO_PAGE = "--headless" in sys.argv or "--worker" in sys.argv
if _HAS_NO_PAGE:
    # At the end the charts are drawn from the timeline, because Locust's points are sliding means over ten seconds.
    locust.stats.HISTORY_STATS_INTERVAL_SEC = 86_400
locust.stats.PERCENTILES_TO_CHART = list(CHARTED)
locust.stats.PERCENTILES_TO_STATISTICS = list(CHARTED)

_generators = Gathering(PLAN.processes)
_starting = Starting()


class RequestError(Exception):
    """A failed request in Locust's report; its message is AWS's error code."""


class OpenLoopUser(User):
    """The load generator of one Locust process."""

    host = PLAN.target.base_url

    @task
    def generate(self) -> None:
        """Run the whole schedule once, send the counts to the master, and wait to be stopped."""
        if _starting.take():
            self._generate_once()
        while True:
            gevent.sleep(60)

    def _generate_once(self) -> None:
        runner = self.environment.runner
        try:
            wire = make_wire()  # reads credentials and photos, which takes time
            runner.send_message(READY_MESSAGE)
            begins = _starting.wait()
            runner.send_message(RESULT_MESSAGE, self._measure(wire, runner.worker_index, begins).to_message())
        except (Exception, gevent.Timeout) as error:
            # If the exception left this method, Locust would start the schedule again.
            logging.exception("the load generator failed")
            runner.send_message(BROKEN_MESSAGE, f"{type(error).__name__}: {error}")

    def _measure(self, wire: Wire, worker: int, begins: float) -> Tally:
        # A worker, also one on another machine, has the same plan and an index of its own.
        plan = plan_now(self.environment)
        times = poisson_arrivals(plan.schedule, seed=plan.seed, worker=worker, workers=plan.processes)
        gc.freeze()  # a garbage collection of all imported objects would delay requests by some 50 ms
        loop = OpenLoop(wire, make_bounds(plan), self._report_to_locust)
        return _starting.to_master_clock(loop.run(times, begins=begins))

    def _report_to_locust(self, latency_seconds: float, outcome: Outcome, length: int) -> None:
        self.environment.events.request.fire(
            request_type=METHOD,
            name=PLAN.target.title,
            response_time=1000 * latency_seconds if outcome.is_ok else None,
            response_length=length,
            exception=None if outcome.is_ok else RequestError(terminal_text(outcome.code)),
            context={},
        )


class UntilResults(LoadTestShape):
    """Runs one user per process until all results have arrived, one will not arrive, or the deadline passed."""

    def tick(self) -> tuple[int, float] | None:
        """Return (users, users started per second), or None to end the test."""
        runner: Any = self.runner
        limit_seconds = plan_now(runner.environment).deadline_seconds + START_SECONDS
        seconds = time.perf_counter() - self.start_time
        if seconds > limit_seconds or _generators.is_over(runner, seconds):
            if not _generators.is_complete:
                _show_results(runner.environment)
            return None
        return PLAN.processes, float(PLAN.processes)


def make_wire() -> Wire:
    """Return the functions and payloads by which this plan's requests are built, sent and judged."""
    target = PLAN.target
    signer = Signer(target.route, credentials_source(is_local=PLAN.is_local))

    def connect() -> Connection:
        return Connection(target.host, target.port, is_tls=target.is_tls, timeout_seconds=PLAN.timeout_seconds)

    return Wire(connect, signer.request, target.judge, target.payloads(PLAN.images))


def make_bounds(plan: Plan = PLAN) -> Bounds:
    """Return the limits of one generator under a plan."""
    return Bounds(plan.warm_up_seconds, plan.deadline_seconds, plan.max_connections)


def plan_now(environment: Any) -> Plan:
    """Return the plan with the rate and the seconds that the user entered on Locust's page."""
    typed = environment.parsed_options
    return plan_from_form(PLAN, getattr(typed, "rate_per_second", None), getattr(typed, "seconds", None))


def credentials_source(*, is_local: bool) -> Callable[[], ReadOnlyCredentials]:
    """Return what gives the current credentials; a local run never reads those of a profile.

    Raises:
        RuntimeError: the environment has no key of the embedded AWS, or on real AWS botocore finds none.
    """
    if is_local:
        access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not access or not secret:
            raise RuntimeError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the embedded AWS are not set")
        fixed = ReadOnlyCredentials(access, secret, None)
        return lambda: fixed
    found = keep_assumed_credentials(botocore.session.get_session()).get_credentials()
    if found is None:
        raise RuntimeError("no AWS credentials were found")
    current: Callable[[], ReadOnlyCredentials] = found.get_frozen_credentials
    return current


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def on_parser(parser: Any, **_: Any) -> None:
    """Add the plan's rate and seconds as fields of Locust's page; both are floats, like the values typed there."""
    if _HAS_NO_PAGE:
        return
    rate, seconds = float(PLAN.stages[0].rate_per_second), float(PLAN.measured_seconds)
    rate_help = "Requests per second, sent whether or not earlier ones were answered."
    parser.add_argument("--rate-per-second", type=float, default=rate, help=rate_help)
    parser.add_argument("--seconds", type=float, default=seconds, help="The measured time, after the warm-up.")


@events.init.add_listener  # type: ignore[untyped-decorator]
def on_init(environment: Any, **_: Any) -> None:
    """Collect results and print the progress, in the master or the only process; begin when that says so."""
    if not isinstance(environment.runner, MasterRunner):
        environment.runner.register_message(START_MESSAGE, _start)
    if isinstance(environment.runner, WorkerRunner):
        return
    if environment.web_ui is not None:
        environment.web_ui.app.before_request(_reject_foreign_page)
        environment.web_ui.app.before_request(_reject_form)
        environment.web_ui.app.after_request(_show_fields)
    environment.runner.register_message(READY_MESSAGE, _note_ready)
    environment.runner.register_message(RESULT_MESSAGE, _collect)
    environment.runner.register_message(BROKEN_MESSAGE, _note_broken)
    gevent.spawn(_print_progress, environment)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def on_test_start(environment: Any, **_: Any) -> None:
    """Discard the results of an earlier test that was started on Locust's page."""
    del environment
    _generators.clear()
    _starting.renew()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def on_quitting(environment: Any, **_: Any) -> None:
    """Write `loadtest.json` from all results and set the exit code."""
    if isinstance(environment.runner, WorkerRunner):
        environment.process_exit_code = 0
        return
    missing = _generators.missing()
    if missing and (_generators.none_can_begin or not _HAS_NO_PAGE):
        logging.error("%s", missing)
        environment.process_exit_code = 3
        return
    content = summary(plan_now(environment), merged(_generators.results.values()), missing=missing)
    write_summary(PLAN.result_path, content)
    environment.process_exit_code = 1 if content["verdict"]["void"] or content["verdict"]["failed"] else 0


def _collect(environment: Any, msg: Any) -> None:
    """Store a generator's result; after the last one, let Locust's tables and charts show the merged result."""
    _generators.results[msg.node_id] = Tally.from_message(msg.data)
    if _generators.is_complete:
        _show_results(environment)


def _show_results(environment: Any) -> None:
    """Let Locust's tables and charts show the merged result, also when some of it is missing."""
    whole, seconds = merged(_generators.results.values()), plan_now(environment).measured_seconds
    show_result(environment.stats, whole, title=PLAN.target.title, seconds=seconds, processes=PLAN.processes)


def _note_ready(environment: Any, msg: Any) -> None:
    _generators.note_ready(environment.runner, msg.node_id)


def _start(environment: Any, msg: Any) -> None:
    del environment  # Locust calls listeners by keyword
    _starting.announce(msg.data["at"])


def _reject_foreign_page() -> Any:
    """Refuse what a web page of another origin sends: any page could start a load otherwise."""
    why = foreign_page(flask.request.headers.items())
    return None if why is None else flask.Response(f"kennel: {why}\n", 403, mimetype="text/plain")


def _reject_form() -> Any:
    """Respond to a Start with invalid numbers by an error message that Locust's page shows."""
    if flask.request.path != "/swarm":
        return None
    error = form_error(flask.request.form)
    return None if error is None else flask.jsonify({"success": False, "message": error, "host": PLAN.target.base_url})


def _show_fields(response: Any) -> Any:
    """Show the fields for rate and seconds on Locust's page; hide those for users, which an open model lacks."""
    if flask.request.path == "/" and response.mimetype == "text/html" and not response.is_streamed:
        response.set_data(add_style(response.get_data(as_text=True)))
    return response


def _note_broken(environment: Any, msg: Any) -> None:
    del environment  # Locust calls listeners by keyword
    _generators.note_broken(msg.node_id, terminal_text(str(msg.data)))


def _print_progress(environment: Any) -> None:
    began = time.perf_counter()
    while True:
        gevent.sleep(PROGRESS_SECONDS)
        whole = sum(stage.seconds for stage in plan_now(environment).schedule)
        total, passed = environment.stats.total, time.perf_counter() - began
        answered = total.num_requests - total.num_failures
        counts = f"{answered:,} answered, {total.num_failures:,} failed"
        if answered:
            counts += f", median of the answered {total.get_response_time_percentile(0.5):.0f} ms"
        # The task that started Locust passes this line on, and tasks/run/line_filter.py parses it.
        try:
            print(f"load test {PLAN.target.title}: {passed:.0f} of about {whole:.0f} s, {counts}", flush=True)
        except BrokenPipeError:  # the process that started the test has ended, so the result is not needed
            environment.runner.quit()
            return

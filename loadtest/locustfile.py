"""Locust's entry: an open model at a set rate, against a SageMaker endpoint or a Lambda alias.

    KENNEL_LOADTEST_PLAN=plan.json python -m locust -f loadtest/locustfile.py --headless --html report.html --csv locust

Each Locust process (one, or each worker of `--processes`) runs one user, which is the whole generator of that process.
Locust's own statistics are fed with every measured result, failed ones without a latency; when all results are in, its
HTML and CSV are set to the figures of `loadtest.json`: latency from the intended start, of the answered requests.
For a load that one machine cannot make, start it with `--master` and `--worker` on several, all with the same plan,
whose `processes` is the number of workers; the master writes the result:

    KENNEL_LOADTEST_PLAN=plan.json python -m locust -f loadtest/locustfile.py --headless --master --expect-workers 8
    KENNEL_LOADTEST_PLAN=plan.json python -m locust -f loadtest/locustfile.py --worker --master-host 10.0.0.5

The plan is `plan.json` of any run of `kennel loadtest`, with `processes`, rates and `result_path` as wanted; the images
that it names have to lie at the same paths everywhere. Without `--headless`, Locust's page has a Start button (`kennel
loadtest --ui`) and shows the plan's rate and seconds, which may be changed there; each press runs the whole schedule,
and the last one's result is written at the end.
Exit code 1: the run is void or failed, and `loadtest.json` says why; 3: there is no result.
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
from locust.runners import WorkerRunner

from loadtest.arrivals import poisson_arrivals
from loadtest.connection import Connection
from loadtest.locust_page import METHOD, show_result
from loadtest.open_loop import Bounds, OpenLoop, Wire
from loadtest.outcomes import Outcome
from loadtest.page_form import plan_with, refuse, with_style
from loadtest.plan import PLAN_VARIABLE, Plan, read_plan
from loadtest.signing import Signer
from loadtest.summary import summary, write_summary
from loadtest.tally import Tally, merged
from loadtest.timeline import CHARTED

PLAN = read_plan(Path(os.environ[PLAN_VARIABLE]))
RESULT_MESSAGE = "kennel_result"
BROKEN_MESSAGE = "kennel_broken"
PROGRESS_SECONDS = 2.0
START_SECONDS = 30.0
"""How long the processes may take to start and to hand in their results, beyond the run's own deadline."""

if "--headless" in sys.argv:
    # The charts are drawn from our own seconds at the end: Locust's points are sliding means over ten seconds.
    locust.stats.HISTORY_STATS_INTERVAL_SEC = 86_400
locust.stats.PERCENTILES_TO_CHART = list(CHARTED)
locust.stats.PERCENTILES_TO_STATISTICS = list(CHARTED)

_results: list[Tally] = []
_broken: list[str] = []


class RequestError(Exception):
    """How Locust's report names a failure: by AWS's code."""


class OpenLoopUser(User):
    """The generator of one Locust process."""

    host = PLAN.target.base_url

    @task
    def generate(self) -> None:
        """Run the whole schedule once, hand in the counts, and wait to be stopped."""
        runner = self.environment.runner
        try:
            runner.send_message(RESULT_MESSAGE, self._measure(runner.worker_index).to_message())
        except Exception as error:
            # Raised further, Locust would start the schedule again.
            logging.exception("the generator broke")
            runner.send_message(BROKEN_MESSAGE, f"{type(error).__name__}: {error}")
        while True:
            gevent.sleep(60)

    def _measure(self, worker: int) -> Tally:
        # A Locust process on another machine than the master's has the same plan and its own index.
        plan = plan_now(self.environment)
        times = poisson_arrivals(plan.schedule, seed=plan.seed, worker=worker, workers=plan.processes)
        gc.freeze()  # a search of everything imported for cycles would delay requests by some 50 ms
        return OpenLoop(make_wire(), make_bounds(plan), self._tell_locust).run(times)

    def _tell_locust(self, latency_seconds: float, outcome: Outcome, length: int) -> None:
        self.environment.events.request.fire(
            request_type=METHOD,
            name=PLAN.target.title,
            response_time=1000 * latency_seconds if outcome.is_ok else None,
            response_length=length,
            exception=None if outcome.is_ok else RequestError(outcome.code),
            context={},
        )


class UntilResults(LoadTestShape):
    """One user in each process until all have handed in their results, one broke, or the deadline passed."""

    def tick(self) -> tuple[int, float] | None:
        """Return (users, users started a second), or None to end the test."""
        runner: Any = self.runner
        limit_seconds = plan_now(runner.environment).deadline_seconds + START_SECONDS
        late = time.perf_counter() - self.start_time > limit_seconds
        if late or _broken or len(_results) == PLAN.processes:
            return None
        return PLAN.processes, float(PLAN.processes)


def make_wire() -> Wire:
    """Return how this plan's requests are made, signed and judged."""
    target = PLAN.target
    signer = Signer(target.route, credentials_source(is_local=PLAN.is_local))

    def connect() -> Connection:
        return Connection(target.host, target.port, is_tls=target.is_tls, timeout_seconds=PLAN.timeout_seconds)

    return Wire(connect, signer.request, target.judge, target.payloads(PLAN.images))


def make_bounds(plan: Plan = PLAN) -> Bounds:
    """Return the limits of one generator."""
    return Bounds(plan.warm_up_seconds, plan.deadline_seconds, plan.max_connections)


def plan_now(environment: Any) -> Plan:
    """Return the plan, with the rate and seconds that a person has typed into Locust's page."""
    typed = environment.parsed_options
    return plan_with(PLAN, getattr(typed, "rate_per_second", None), getattr(typed, "seconds", None))


def credentials_source(*, is_local: bool) -> Callable[[], ReadOnlyCredentials]:
    """Return what gives the current credentials; a local run never reads those of a profile.

    Raises:
        RuntimeError: the run is on AWS and botocore finds no credentials.
    """
    if is_local:
        access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        fixed = ReadOnlyCredentials(access or "local", secret or "local", None)
        return lambda: fixed
    found = botocore.session.get_session().get_credentials()
    if found is None:
        raise RuntimeError("no AWS credentials were found")
    current: Callable[[], ReadOnlyCredentials] = found.get_frozen_credentials
    return current


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def on_parser(parser: Any, **_: Any) -> None:
    """Have Locust's page show the plan's rate and seconds as fields; they are floats, as what is typed there."""
    if "--headless" in sys.argv:
        return
    rate, seconds = float(PLAN.stages[0].rate_per_second), float(PLAN.measured_seconds)
    parser.add_argument("--rate-per-second", type=float, default=rate, help="Requests a second, whatever the answers.")
    parser.add_argument("--seconds", type=float, default=seconds, help="How long is measured, after the warm-up.")


@events.init.add_listener  # type: ignore[untyped-decorator]
def on_init(environment: Any, **_: Any) -> None:
    """Collect results where the test is steered (the master, or the only process), and tell the progress there."""
    if isinstance(environment.runner, WorkerRunner):
        return
    if environment.web_ui is not None:
        environment.web_ui.app.before_request(_refuse_form)
        environment.web_ui.app.after_request(_show_fields)
    environment.runner.register_message(RESULT_MESSAGE, _collect)
    environment.runner.register_message(BROKEN_MESSAGE, _note_broken)
    gevent.spawn(_tell_progress, environment)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def on_test_start(environment: Any, **_: Any) -> None:
    """Forget the results of the test before, which a person has started on Locust's page."""
    if not isinstance(environment.runner, WorkerRunner):
        _results.clear()
        _broken.clear()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def on_quitting(environment: Any, **_: Any) -> None:
    """Write `loadtest.json` from all results and set the exit code."""
    if isinstance(environment.runner, WorkerRunner):
        environment.process_exit_code = 0
        return
    if len(_results) != PLAN.processes:
        reasons = "; ".join(_broken) or "no reason is known"
        logging.error("%d of %d processes handed in a result: %s", len(_results), PLAN.processes, reasons)
        environment.process_exit_code = 3
        return
    content = summary(plan_now(environment), merged(_results))
    write_summary(PLAN.result_path, content)
    environment.process_exit_code = 1 if content["verdict"]["void"] or content["verdict"]["failed"] else 0


def _collect(environment: Any, msg: Any) -> None:
    """Keep a generator's result; with the last, have Locust's tables and charts show the whole."""
    _results.append(Tally.from_message(msg.data))
    if len(_results) == PLAN.processes:
        whole, seconds = merged(_results), plan_now(environment).measured_seconds
        show_result(environment.stats, whole, title=PLAN.target.title, seconds=seconds, processes=PLAN.processes)


def _refuse_form() -> Any:
    """Answer a Start whose numbers cannot be taken in the way that Locust's page shows to a person."""
    if flask.request.path != "/swarm":
        return None
    why = refuse(flask.request.form)
    return None if why is None else flask.jsonify({"success": False, "message": why, "host": PLAN.target.base_url})


def _show_fields(response: Any) -> Any:
    """Have the page of the form show our fields at once, and not those of users, which an open model does not have."""
    if flask.request.path == "/" and response.mimetype == "text/html" and not response.is_streamed:
        response.set_data(with_style(response.get_data(as_text=True)))
    return response


def _note_broken(environment: Any, msg: Any) -> None:
    del environment  # Locust calls listeners by keyword
    _broken.append(str(msg.data))


def _tell_progress(environment: Any) -> None:
    began = time.perf_counter()
    while True:
        gevent.sleep(PROGRESS_SECONDS)
        whole = sum(stage.seconds for stage in plan_now(environment).schedule)
        total, passed = environment.stats.total, time.perf_counter() - began
        answered = total.num_requests - total.num_failures
        counts = f"{answered:,} answered, {total.num_failures:,} failed"
        if answered:
            counts += f", median of the answered {total.get_response_time_percentile(0.5):.0f} ms"
        # A plain line on stdout: what started Locust shows it to a person.
        try:
            print(f"load test {PLAN.target.title}: {passed:.0f} of about {whole:.0f} s, {counts}", flush=True)
        except BrokenPipeError:  # whoever started the test is gone: nobody will read its result
            environment.runner.quit()
            return

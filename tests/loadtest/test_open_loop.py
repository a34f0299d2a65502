"""Tests of the open model against a real server: requests start on time and everything is counted."""

import http.client
import threading
import time

import gevent
import gevent.event
import pytest
from botocore.credentials import ReadOnlyCredentials

from loadtest.arrivals import Stage, poisson_arrivals, total_seconds
from loadtest.connection import Connection
from loadtest.open_loop import Bounds, OpenLoop, Wire
from loadtest.outcomes import OK, HttpAnswer, Outcome
from loadtest.percentiles import highest_allowed, value_ms
from loadtest.signing import Payload, Signer
from loadtest.tally import Tally
from loadtest.targets import LoadTarget
from loadtest.timer import PreciseTimer
from loadtest.verdict import achieved_rate, judge
from tests.loadtest.conftest import InvokeServer

JPEG = Payload.of("photo", b"\xff\xd8" + bytes(2_000), "image/jpeg")


def wire(server: InvokeServer, name: str = "steady", timeout_seconds: float = 10) -> Wire:
    target = LoadTarget("endpoint", name, None, server.url, "us-east-1")
    signer = Signer(target.route, lambda: ReadOnlyCredentials("AKID", "secret", None))

    def connect() -> Connection:
        return Connection(target.host, target.port, is_tls=False, timeout_seconds=timeout_seconds)

    return Wire(connect, signer.request, target.judge, [JPEG])


def run(wire: Wire, stages: list[Stage], *, warm_up: float = 0.5, drain: float = 10, connections: int = 1024) -> Tally:
    schedule = [Stage(stages[0].rate_per_second, warm_up), *stages] if warm_up else stages
    loop = OpenLoop(wire, Bounds(warm_up, total_seconds(schedule) + drain, connections), lambda *_: None)
    return loop.run(poisson_arrivals(schedule, seed=1))


def test_every_request_due_is_sent_and_answered_at_the_rate_that_was_drawn(server: InvokeServer) -> None:
    stages = [Stage(200, 1.0), Stage(600, 1.0)]
    drawn = list(poisson_arrivals([Stage(200, 0.5), *stages], seed=1))
    tally = run(wire(server), stages)
    assert (tally.warm_up, tally.due) == (sum(t < 0.5 for t in drawn), sum(t >= 0.5 for t in drawn))
    assert tally.due == tally.sent == tally.answered == tally.latency.total_count
    assert server.counts() == {"200": len(drawn)}
    latest = value_ms(tally.lag, 100) / 1000  # a busy machine sends the last ones late, which takes so much longer
    assert 0.99 * tally.due / (2.0 + latest) <= achieved_rate(tally, 2.0) <= 1.01 * tally.due / 2.0
    assert {moment: second.due for moment, second in tally.seconds.items()} == {
        0: sum(0.5 <= t < 1.5 for t in drawn),
        1: sum(t >= 1.5 for t in drawn),
    }


def closed_model_p99_seconds(server: InvokeServer, rate: float, seconds: float, result: list[float]) -> None:
    """Append the p99, from the send, of one user with constant pacing who waits for each response, as in Locust."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    latencies, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        sent = time.perf_counter()
        connection.request("POST", "/endpoints/steady/invocations", JPEG.body)
        connection.getresponse().read()
        latencies.append(time.perf_counter() - sent)
        time.sleep(max(0.0, 1 / rate - latencies[-1]))
    connection.close()
    result.append(sorted(latencies)[int(0.99 * len(latencies))])


def test_a_stalled_server_shows_in_p99_which_the_closed_model_hides(server: InvokeServer) -> None:
    rate, seconds, stalled = 100.0, 6.0, 2.0  # few enough for a slow server to catch up with
    closed: list[float] = []
    user = threading.Thread(target=closed_model_p99_seconds, args=(server, rate, seconds, closed))
    user.start()
    server.stall(once_answered=200, seconds=stalled)
    tally = run(wire(server), [Stage(rate, seconds)], warm_up=0.2)
    user.join()
    # Requests due in the stall wait for what is left of it: P[latency > x] = (stalled - x) / seconds.
    truth_ms = 1000 * (stalled - 0.01 * seconds)
    # Other tests run at the same time and may make generator and server late, which is not an effect of the stall.
    p99_ms, late_ms = value_ms(tally.latency, 99), value_ms(tally.lag, 99)
    assert 0.9 * truth_ms <= p99_ms <= 1.1 * truth_ms + late_ms
    assert p99_ms >= 2 * 1000 * closed[0]
    assert tally.due == tally.answered
    assert [reason for reason in judge(tally, seconds).void if "started late" not in reason] == []


def test_requests_without_an_answer_are_failures_at_the_deadline(server: InvokeServer) -> None:
    begun = time.perf_counter()
    tally = run(wire(server, "hangs", timeout_seconds=60), [Stage(50, 0.5)], drain=0.3)
    assert time.perf_counter() - begun < 30
    assert tally.sent == tally.failed == tally.kinds["timeout"] > 0
    assert tally.failures == {"no answer by the deadline": tally.failed}


class Answered:
    """A response that needs no network."""

    status, body = 200, b"{}"

    def header(self, name: str) -> str:
        return ""


def test_a_response_that_arrives_at_the_deadline_is_not_counted_twice() -> None:
    """The listener is called for the first timed-out request and releases every response at that moment."""
    answers = gevent.event.Event()

    class Held:
        def exchange(self, request: bytes) -> HttpAnswer:
            answers.wait()
            return Answered()

        def close(self) -> None:
            pass

    held = Wire(Held, lambda payload: payload.body, lambda answer: OK, [JPEG])
    loop = OpenLoop(held, Bounds(0.0, 0.2, 3), lambda *_: answers.set())
    tally = loop.run([0.0, 0.01, 0.02, 0.03, 0.04])
    assert (tally.due, tally.sent, tally.answered, tally.failed) == (5, 3, 0, 3)


def test_a_response_slower_than_the_timeout_is_a_timeout(server: InvokeServer) -> None:
    tally = run(wire(server, "hangs", timeout_seconds=0.1), [Stage(50, 0.5)])
    assert tally.failures == {"no answer within the timeout": tally.sent}


def test_a_dropped_connection_is_counted_once_and_never_sent_again(server: InvokeServer) -> None:
    tally = run(wire(server, "drops"), [Stage(50, 0.5)], warm_up=0)
    assert tally.kinds == {"connection": tally.sent}
    assert server.counts() == {"dropped": tally.sent}


def test_a_run_without_enough_connections_is_void(server: InvokeServer) -> None:
    tally = run(wire(server, "hangs", timeout_seconds=0.2), [Stage(100, 0.5)], warm_up=0, connections=2, drain=0.5)
    reasons = judge(tally, 0.5).void
    assert any("waited for a free connection" in reason for reason in reasons)
    assert 0 < tally.sent == tally.failed < tally.due


def test_a_saturated_generator_is_void(server: InvokeServer) -> None:
    def slow_request(payload: Payload) -> bytes:
        busy_until = time.perf_counter() + 0.005
        while time.perf_counter() < busy_until:
            pass
        return signed(payload)

    normal = wire(server)
    signed = normal.request
    busy = Wire(normal.connect, slow_request, normal.judge, normal.payloads)
    begun, used = time.perf_counter(), time.process_time()
    tally = run(busy, [Stage(1000, 1.0)], warm_up=0, drain=0.2)
    share = (time.process_time() - used) / (time.perf_counter() - begun)
    reasons = judge(tally, 1.0).void
    assert any("under 99 %" in reason for reason in reasons)
    is_told = any("requests started late" in reason for reason in reasons)
    assert is_told or highest_allowed(tally.answered) is None, "a busy machine may answer too few for a percentile"
    assert share - 0.15 <= tally.busiest_cpu < 1.15  # near 1, unless other programs use the machine too
    assert tally.due > tally.sent == tally.answered + tally.failed


def test_a_bug_of_the_generator_is_not_counted_as_a_failure_of_the_target(server: InvokeServer) -> None:
    def broken_judge(answer: HttpAnswer) -> Outcome:
        raise ValueError(f"cannot judge {answer.status}")

    normal = wire(server)
    broken = Wire(normal.connect, normal.request, broken_judge, normal.payloads)
    with pytest.raises(RuntimeError, match="a caller of the load generator failed") as caught:
        run(broken, [Stage(50, 30)])
    assert str(caught.value.__cause__) == "cannot judge 200"


def test_the_listener_is_called_with_every_measured_result(server: InvokeServer) -> None:
    told: list[tuple[float, Outcome, int]] = []
    loop = OpenLoop(wire(server), Bounds(0.0, 5, 16), lambda *row: told.append(row))
    tally = loop.run([0.0, 0.01, 0.02])
    assert [(outcome, length > 0) for _, outcome, length in told] == [(OK, True)] * tally.answered
    assert sum(latency for latency, _, _ in told) == pytest.approx(tally.latency_sum_seconds, rel=0.05)


def test_the_timer_is_precise_to_a_millisecond_and_lets_other_greenlets_run() -> None:
    ran: list[int] = []
    gevent.spawn(ran.append, 1)
    lags, of_the_kernel = [], []
    with PreciseTimer() as timer:
        for _ in range(50):
            moment = time.perf_counter() + 0.003
            timer.sleep_until(moment)
            lags.append(time.perf_counter() - moment)
            moment = time.perf_counter() + 0.003
            time.sleep(0.003)
            of_the_kernel.append(time.perf_counter() - moment)
        timer.sleep_until(time.perf_counter() - 1)
    assert min(lags) >= 0 and sorted(lags)[25] < 0.001 + sorted(of_the_kernel)[25]
    assert ran == [1]

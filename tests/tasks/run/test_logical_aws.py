"""An AWS is known by its home and generation, whatever its address; what an ended one had is lost, and said."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tasks.run.aws import Aws
from tasks.run.errors import LedgerRefused, SettingsRefused, Unreachable
from tasks.run.handle import Run
from tasks.run.ledger import Ledger
from tasks.run.ledger_contents import LOST, read_ledger
from tasks.run.logical_aws import LogicalAws, identify, is_lost
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.http_server import serving

HOME = "/home/me/photos/.kennel/localaws"
KEPT = Path(__file__).with_name("release_0_1_0") / "ledgers" / "local.jsonl"


@contextmanager
def server(health: dict[str, Any] | None, spoilt: list[tuple[int, bytes]] | None = None) -> Iterator[str]:
    """Serve on loopback what a health route answers; None answers 404, as another server does.

    `spoilt` are the first answers (status, body); one that holds "cut" has a longer length than it has.
    """
    first = [] if spoilt is None else spoilt

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = (404 if health is None else 200), json.dumps(health).encode()
            if first:
                status, body = first.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + 9 * (b"cut" in body)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as url:
        yield url


def health_of(generation: str, home: str = HOME) -> dict[str, Any]:
    return {"status": "ok", "home": home, "generation": generation}


OF_0_1_0 = {"status": "ok", "home": HOME}
"""What localaws of release 0.1.0 answers."""


@pytest.fixture
def closed_url() -> str:
    """An address on loopback at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def open_ledger(run_dir: Path, aws: LogicalAws, **more: str) -> Ledger:
    chosen = {"account_id": "123456789012", **more}
    return Ledger(run_dir, endpoint=aws.endpoint, home=aws.home, generation=aws.generation, **chosen)


def test_an_embedded_aws_is_named_by_its_home_and_generation_and_others_by_their_endpoint(closed_url: str) -> None:
    with server(health_of("g1")) as url:
        assert identify(url) == LogicalAws(url, HOME, "g1")
    for answer in (None, OF_0_1_0, {"home": HOME}):
        with server(answer) as url:
            assert identify(url) == LogicalAws(url)
    assert identify("aws") == LogicalAws("aws")
    with pytest.raises(Unreachable, match=f"{closed_url} does not answer"):
        identify(closed_url)


def test_a_real_localaws_says_which_it_is(localaws: RunningLocalAws) -> None:
    known = identify(localaws.url)
    assert known.home == str(localaws.home.resolve()) and len(known.generation) == 16
    assert json.loads((localaws.home / "server.json").read_text())["generation"] == known.generation


def test_what_a_former_generation_of_this_home_had_is_closed_as_lost(tmp_path: Path) -> None:
    old = open_ledger(tmp_path, LogicalAws("http://127.0.0.1:1", HOME, "g1"))
    old.record("role", "r", "created", identifier="arn")
    old.record("endpoint", "e", "uncertain")
    old.record("bucket", "b", "created")
    old.mark_removed("bucket", "b")
    new = open_ledger(tmp_path, LogicalAws("http://127.0.0.1:2", HOME, "g2"))
    assert [row.name for row in new.lost] == ["r", "e"]
    assert [(row.name, row.state, row.error) for row in new.rows()] == [
        ("r", "removed", LOST),
        ("e", "removed", LOST),
        ("b", "removed", None),
    ]
    new.record("role", "r", "intended")
    assert [(row.name, row.identifier) for row in new.live()] == [("r", None)], "a new role has no old identifier"
    assert open_ledger(tmp_path, LogicalAws("http://127.0.0.1:2", HOME, "g2")).lost == ()


def test_the_same_generation_at_another_address_is_the_same_aws(tmp_path: Path) -> None:
    open_ledger(tmp_path, LogicalAws("http://127.0.0.1:1", HOME, "g1")).record("role", "r", "created")
    ledger = open_ledger(tmp_path, LogicalAws("http://127.0.0.1:2", HOME, "g1"))
    assert ledger.lost == () and [row.name for row in ledger.live()] == ["r"]
    header = read_ledger(tmp_path)[0]
    assert header is not None and header.endpoint == "http://127.0.0.1:2"


def test_the_resources_of_another_home_are_lost_only_if_that_one_has_ended(tmp_path: Path, closed_url: str) -> None:
    here = LogicalAws(closed_url, HOME, "g9")
    with server(health_of("g1", "/elsewhere")) as url:
        other = LogicalAws(url, "/elsewhere", "g1")
        open_ledger(tmp_path, other).record("role", "r", "created")
        with pytest.raises(LedgerRefused) as caught:
            open_ledger(tmp_path, here)
        assert "belongs to account 123456789012 at localaws of /elsewhere" in caught.value.what
        assert is_lost(LogicalAws(url, "/elsewhere", "g0"), here), "the server there was started again"
    assert [row.name for row in open_ledger(tmp_path, here).lost] == ["r"]


@pytest.mark.parametrize("answer", [health_of("g1"), health_of("g7", "/elsewhere"), OF_0_1_0, None])
def test_a_ledger_of_release_0_1_0_is_of_an_ended_localaws_unless_its_own_may_still_answer(
    tmp_path: Path, answer: dict[str, Any] | None
) -> None:
    here, run_dir = LogicalAws("http://127.0.0.1:1", HOME, "g1"), tmp_path / "photos-local"
    run_dir.mkdir()
    with server(answer) as url:
        (run_dir / "ledger.jsonl").write_text(KEPT.read_text().replace("http://127.0.0.1:41029", url))
        if answer in (OF_0_1_0, None):
            with pytest.raises(LedgerRefused, match=f"belongs to account 123456789012 at {url}"):
                open_ledger(run_dir, here)
        else:
            assert len(open_ledger(run_dir, here).lost) == 4
            return
    assert len(open_ledger(run_dir, here).lost) == 4, "nothing listens there any more"


def test_a_ledger_of_a_real_account_is_never_lost_and_refused_for_another(tmp_path: Path) -> None:
    open_ledger(tmp_path, LogicalAws("aws")).record("role", "r", "created")
    for aws, more in (
        (LogicalAws("http://127.0.0.1:1", HOME, "g1"), {}),
        (LogicalAws("aws"), {"account_id": "999999999999"}),
        (LogicalAws("aws"), {"region": "eu-west-1"}),
    ):
        with pytest.raises(LedgerRefused, match="belongs to account 123456789012 at aws in us-east-1"):
            open_ledger(tmp_path, aws, **more)
    assert not is_lost(LogicalAws("aws"))


def endpoint_of(run: Run) -> EndpointRef:
    return EndpointRef(f"kennel-{run.id}-endpoint", "arn", "c", "m", "v", "ml.m5.large", 1, "s3://b/runs/r/k", 2.5)


def test_a_record_whose_resource_was_lost_is_refused_with_what_to_do(localaws: RunningLocalAws, tmp_path: Path) -> None:
    run = Run(Aws(Settings(endpoint_url=localaws.url, runs=tmp_path)), "photos")
    run.keep(endpoint_of(run))
    former = LogicalAws(localaws.url, str(localaws.home.resolve()), "g0")
    open_ledger(run.folder, former).record("endpoint", "kennel-photos-endpoint", "created")
    with pytest.raises(SettingsRefused) as caught:
        run.need(EndpointRef)
    error = caught.value
    assert (error.where, error.what) == ("run photos", "its endpoint does not exist any more")
    assert error.why == f"endpoint kennel-photos-endpoint was {LOST}"
    assert error.next_command.startswith("repeat the kennel run")
    run.ledger.record("endpoint", "kennel-photos-endpoint", "created")
    assert run.need(EndpointRef) == endpoint_of(run), "it was made anew"


def test_an_aws_that_was_started_again_is_noticed(tmp_path: Path) -> None:
    health = health_of("g1")
    with server(health) as url:
        aws = Aws(Settings(endpoint_url=url, runs=tmp_path))
        assert aws.identity.generation == "g1"
        aws.require_same("loadtest")
        health["generation"] = "g2"
        with pytest.raises(Unreachable, match=r"loadtest: at .* answers another AWS than at the start"):
            aws.require_same("loadtest")
    with pytest.raises(Unreachable, match="does not answer"):
        aws.require_same("loadtest")


SPOILT = [
    (500, b"{}"),
    (503, b""),
    (302, b""),
    (200, b""),
    (200, b"<html>"),
    (200, b"[1]"),
    (200, b'{"home": "/x", "generation": 7}'),
    (200, b'{"home": "/cut", "generation": "g2"}'),
    (200, b'{"home": "", "generation": "g2"}'),
    (200, b" " * 2**21),
]


@pytest.mark.parametrize("answer", SPOILT)
def test_a_spoilt_answer_names_no_other_generation_and_is_asked_for_again(
    tmp_path: Path, answer: tuple[int, bytes]
) -> None:
    spoilt = [answer] * 2
    with server(health_of("g1"), spoilt) as url:
        known = LogicalAws(url, HOME, "g1")
        assert identify(url) == known and spoilt == []
        spoilt += [answer] * 3
        with pytest.raises(Unreachable, match="does not answer who it is") as caught:
            identify(url)
        assert caught.value.exit_code == 5
        spoilt += [answer] * 3
        assert not is_lost(known, LogicalAws(url, "/elsewhere", "g5"))
        spoilt += [(404, b"")] * 3
        assert not is_lost(known), "another AWS has its address, or a proxy is between"
        spoilt.append((404, b""))
        assert identify(url) == known


def test_what_was_closed_as_lost_by_mistake_is_used_again(tmp_path: Path) -> None:
    here, there = LogicalAws("http://127.0.0.1:1", HOME, "g1"), LogicalAws("http://127.0.0.1:1", HOME, "g2")
    first = open_ledger(tmp_path, here)
    first.record("role", "r", "created", identifier="arn")
    first.record("bucket", "b", "created")
    first.mark_removed("bucket", "b")
    assert [row.name for row in open_ledger(tmp_path, there).lost] == ["r"]
    again = open_ledger(tmp_path, here)
    assert [(row.name, row.state, row.identifier) for row in again.live()] == [("r", "created", "arn")]
    assert [row.name for row in again.reopened] == ["r"]
    assert open_ledger(tmp_path, here).reopened == ()
    again.mark_removed("role", "r")
    assert open_ledger(tmp_path, here).live() == []

"""`kennel up` with a faster clock and limited instances: exported variables, adoption, refusal of other options."""

import json
import os
import shutil
import signal
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kennel.servers import localaws
from kennel.servers.localaws import Options
from localaws.record import read_record
from tasks.run.sealed import seal, unseal
from tests.bit_flips import FLIPS, flipped
from tests.kennel.pseudo_terminal import OnATerminal
from tests.kennel.shell import Terminal, exported, prefer_own_port
from tests.polling import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

OPTIONS = ("--time-scale", "60", "--capacity", "ml.m5.large=4:40ms", "--instance-startup-seconds", "120")


def answer(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as reply:
        return json.loads(reply.read())


def opened(terminal: Terminal, folder: Path) -> str:
    """Return the address that `kennel open --console` has a browser open, on a terminal with a display."""
    browser, asked = folder / "browser", folder / "asked"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {asked}\n')
    browser.chmod(0o755)
    terminal = replace(terminal, more={**terminal.more, "DISPLAY": ":9", "BROWSER": str(browser)})
    with OnATerminal(terminal, "open", "--console", columns=200) as shown:
        assert shown.end() == 0, shown.text
    return wait_until(asked.read_text, "the browser")


def test_what_it_is_started_with_is_adopted_and_anything_else_refused(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    preferred = prefer_own_port(terminal.home)
    try:
        first = terminal.kennel("up", *OPTIONS)
        assert first.code == 0, first.err
        shell = exported(first.out)
        url = shell["AWS_ENDPOINT_URL"]
        assert url == preferred
        assert float(shell["KENNEL_TIME_SCALE"]) == 60 and float(shell["KENNEL_CLOCK_ORIGIN"]) > 0
        assert answer(f"{url}/_localaws/clock")["scale"] == 60
        assert answer(f"{url}/_localaws/capacity/hosting") == {"ml.m5.large": {"concurrency": 4, "floor_ms": 40.0}}

        for again in (terminal.kennel("up", *OPTIONS), terminal.kennel("up"), terminal.kennel("up", more=shell)):
            assert again.code == 0 and exported(again.out)["AWS_ENDPOINT_URL"] == url, again.err
        assert terminal.kennel("up", *OPTIONS, more=shell).code == 0, "its own address in the shell names no other AWS"

        console = terminal.kennel("open", "--console", "--print").out.strip()
        with urllib.request.urlopen(console, timeout=60) as page:
            assert console.startswith(f"{url}/_localaws/console/") and b"60 times as fast" in page.read()
        assert opened(terminal, tmp_path) == console

        record = terminal.home / "localaws" / "server.json"
        written = record.read_bytes()
        record.write_bytes(written[:100])
        blind = terminal.kennel("up")
        assert blind.code == 9 and "next: kennel down --yes, which ends it" in blind.err, blind.err
        record.write_bytes(written)

        other = terminal.kennel("up", "--time-scale", "75")
        assert other.code == 2
        assert "time_scale 75" in other.err and "runs already, with 60" in other.err and "kennel down" in other.err
        other = terminal.kennel("up", "--capacity", "ml.m5.large=8")
        assert other.code == 2 and "ml.m5.large=4:40ms" in other.err
        named = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
        elsewhere = terminal.kennel("up", "--time-scale", "60", more=named)
        assert elsewhere.code == 2 and "another AWS is named" in elsewhere.err

        os.kill(json.loads((terminal.home / "localaws" / "server.json").read_text())["pid"], signal.SIGKILL)
        again = terminal.kennel("up", more=shell)
        assert again.code == 0, "the address that a shell has exported is that of this home, also of a killed server"
        anew = exported(again.out)
        assert (anew["AWS_ENDPOINT_URL"], anew["KENNEL_TIME_SCALE"]) == (url, shell["KENNEL_TIME_SCALE"])
        assert float(anew["KENNEL_CLOCK_ORIGIN"]) > float(shell["KENNEL_CLOCK_ORIGIN"])
        assert answer(f"{url}/_localaws/capacity/hosting") == {"ml.m5.large": {"concurrency": 4, "floor_ms": 40.0}}
    finally:
        terminal.take_down()


def test_commands_that_begin_at_once_share_one_server(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        started = [each for each in threads.map(lambda _: localaws.begin(tmp_path), range(3)) if each is not None]
    try:
        assert len({each.pid for each in started}) == 1
        assert {localaws.wait(tmp_path, each).pid for each in started} == {started[0].pid}
    finally:
        localaws.stop(tmp_path)


def test_a_copied_home_neither_uses_nor_ends_the_server_of_the_first(tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    localaws.wait(first, localaws.begin(first))
    try:
        shutil.copytree(first, copy)
        record = copy / "localaws" / "server.json"
        content = {**unseal(record.read_bytes()), "home": str(copy / "localaws")}
        assert localaws.damaged(copy)[0].endswith(f"it was copied from {first / 'localaws'}, whose server it names")
        assert localaws.find(copy) is None and not localaws.stop(copy) and not record.exists()
        record.write_bytes(seal(content))  # the process says by itself whose it is
        assert localaws.damaged(copy) == [] and localaws.find(copy) is None and not localaws.stop(copy)
        assert read_record(first / "localaws") is not None and localaws.find(first) is not None
    finally:
        assert localaws.stop(first)


def test_no_flip_of_a_bit_in_the_servers_record_changes_what_is_used(tmp_path: Path) -> None:
    started = localaws.wait(tmp_path, localaws.begin(tmp_path))
    record, damaged = tmp_path / "localaws" / "server.json", 0
    try:
        for where in flipped(record):
            assert localaws.find(tmp_path) in {None, started}, where
            damaged += str(record) in "".join(localaws.damaged(tmp_path))
        assert damaged > 0.95 * FLIPS and localaws.damaged(tmp_path) == []
    finally:
        assert localaws.stop(tmp_path)


def test_an_option_out_of_bounds_starts_nothing(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    assert terminal.kennel("up", "--time-scale", "0").code == 2
    assert terminal.kennel("up", "--instance-startup-seconds", "4000").code == 2
    assert not (tmp_path / "home").exists()


def test_a_capacity_that_cannot_be_read_is_told_in_localawss_words(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    try:
        refused = terminal.kennel("up", "--capacity", "four")
        assert refused.code == 2
        assert "capacity='four': must be TYPE[=[CONCURRENCY][:FLOORms]]" in refused.err.replace("\n", " ")
    finally:
        terminal.take_down()


def test_options_are_said_only_where_they_were_given() -> None:
    assert Options().arguments == [] and Options().given == {}
    some = Options(time_scale=60.0, capacity=("*=2", "ml.c5.large=4"))
    assert some.arguments == ["--capacity", "*=2", "--capacity", "ml.c5.large=4", "--time-scale", "60.0"]
    assert some.given == {"time_scale": 60.0, "capacity": ["*=2", "ml.c5.large=4"]}
    assert Options(strict=True).arguments == ["--strict"] and Options(strict=False).arguments == []
    assert Options(instance_startup_seconds=0.0).given == {"instance_startup_seconds": 0.0}

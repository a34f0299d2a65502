"""Following a training over SSH, with a real sshd behind a proxy that breaks connections.

A script of a few lines writes the files of a supervisor. tests/training tests the supervisor itself, tests/kennel both.
"""

import hashlib
import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.ec2.job import RemoteJob
from tasks.ec2.reconnect import download_model
from tasks.ec2.training import Heartbeat, Outcome, follow, stop
from tasks.ec2.worker import Worker, start
from tasks.run.errors import ConnectionLost, RemoteFailed, StageFailed, WaitTimedOut
from tasks.run.records import DatasetRef, Hyperparameters
from tasks.run.waiting import Waiting
from tasks.ssh.remote import Login, Remote
from tests.chaos_proxy import ChaosProxy
from tests.polling import wait_until
from tests.sshd import Sshd, running_sshd

DATA = DatasetRef("bucket", "datasets/x", "x", "x", ("a", "b"), {"test": {"a": 1, "b": 1}}, 1, 0, "x")
RARE = Heartbeat("true", every_seconds=60)
COUNTS = """
for i in $(seq 1 40); do echo "line $i"; sleep 0.05; done
echo '{"state": "completed", "seconds": {}}' > status.json
"""


@dataclass(frozen=True)
class JobHere(RemoteJob):
    """A job whose folder is a test's."""

    here: str = ""

    @property
    def folder(self) -> str:
        return self.here


@pytest.fixture
def job(tmp_path: Path) -> RemoteJob:
    folder = tmp_path / "a job's folder"
    folder.mkdir()
    return JobHere("run", Hyperparameters("resnet50"), DATA, None, tmp_path, "code", None, 1, 1, False, 60, str(folder))


def worker(sshd: Sshd, port: int, tmp_path: Path, *, ended: str | None = None, label: str = "instance-1") -> Worker:
    login = Login(label, sshd.address, port, sshd.user, sshd.key_path, sshd.host_key)
    remote = Remote(login, connect_seconds=10.0, keepalive_seconds=1.0)
    return Worker(remote, label, tmp_path / f"{label}.log", lambda: ended)


def supervise(sshd: Sshd, job: RemoteJob, script: str, *, until_it_ends: bool = False) -> None:
    """Run a script over there as the supervisor: its process id in `pid`, its output in `log.txt`."""
    with worker(sshd, sshd.port, Path(job.folder).parent).remote as remote:
        folder, quoted = shlex.quote(job.folder), shlex.quote(script)
        begin = f"setsid nohup sh -c {quoted} > log.txt 2>&1 < /dev/null &"
        remote.run(f"cd {folder} && {{ {begin} echo $! > pid; }}; {'wait' if until_it_ends else 'true'}")


def tell(job: RemoteJob, **status: Any) -> None:
    (Path(job.folder) / "status.json").write_text(json.dumps(status).ljust(16_384))


def followed(workers: list[Worker], job: RemoteJob, *, seconds: float = 30.0, said: list[str] | None = None) -> Outcome:
    lines: list[str] = [] if said is None else said
    return follow(
        workers,
        job,
        heartbeat=Heartbeat(f"echo beat >> {shlex.quote(job.folder)}/beats", every_seconds=0.5),
        deadline_seconds=seconds,
        waiting=Waiting(lines.append, sleep=lambda _: time.sleep(0.05)),
    )


def test_every_line_arrives_once_though_the_connection_is_reset(
    sshd: Sshd, proxy: ChaosProxy, job: RemoteJob, tmp_path: Path
) -> None:
    said: list[str] = []
    supervise(sshd, job, COUNTS)
    one = worker(sshd, proxy.port, tmp_path)

    def cut(line: str) -> None:
        said.append(line)
        if line.endswith(("line 5", "line 20")):
            proxy.reset()

    with one.remote:
        outcome = follow([one], job, heartbeat=RARE, deadline_seconds=30, waiting=Waiting(cut, sleep=lambda _: None))
    assert outcome.state == "completed"
    assert one.log.read_bytes() == (Path(job.folder) / "log.txt").read_bytes()
    assert [line for line in said if "| line" in line] == [f"instance-1 | line {n}" for n in range(1, 41)]
    assert any("connection lost" in line for line in said)
    assert any("connected again" in line for line in said)


def test_a_link_that_swallows_everything_is_noticed_and_left(
    sshd: Sshd, proxy: ChaosProxy, job: RemoteJob, tmp_path: Path
) -> None:
    supervise(sshd, job, COUNTS)
    one = worker(sshd, proxy.port, tmp_path)
    said: list[str] = []
    with one.remote:
        one.remote.run("true")
        proxy.blackhole()

        def heal(line: str) -> None:
            said.append(line)
            if "connection lost" in line:
                proxy.reset()
                proxy.pass_on()

        outcome = follow([one], job, heartbeat=RARE, deadline_seconds=60, waiting=Waiting(heal, sleep=lambda _: None))
    assert outcome.state == "completed"
    assert one.log.read_bytes() == (Path(job.folder) / "log.txt").read_bytes()


def test_a_later_process_goes_on_where_the_local_log_ends(sshd: Sshd, job: RemoteJob, tmp_path: Path) -> None:
    supervise(sshd, job, "printf 'one\\ntwo\\n'", until_it_ends=True)
    tell(job, state="completed")
    one = worker(sshd, sshd.port, tmp_path)
    one.log.write_text("one\n")
    said: list[str] = []
    with one.remote:
        followed([one], job, said=said)
    assert one.log.read_text() == "one\ntwo\n"
    assert [line for line in said if " | " in line] == ["instance-1 | two"]


def test_heartbeats_are_sent_while_the_training_says_nothing(sshd: Sshd, job: RemoteJob, tmp_path: Path) -> None:
    supervise(sshd, job, 'sleep 2; echo \'{"state": "completed"}\' > status.json')
    one = worker(sshd, sshd.port, tmp_path)
    with one.remote:
        followed([one], job)
    assert (Path(job.folder) / "beats").read_text().count("beat") >= 3


def test_a_heartbeat_that_is_refused_is_said_and_the_training_goes_on(
    sshd: Sshd, job: RemoteJob, tmp_path: Path
) -> None:
    tell(job, state="completed")
    one = worker(sshd, sshd.port, tmp_path)
    said: list[str] = []
    with one.remote:
        refused = Heartbeat("echo no >&2; false", every_seconds=9)
        outcome = follow([one], job, heartbeat=refused, deadline_seconds=9, waiting=Waiting(said.append))
    assert outcome.state == "completed"
    assert said == ["instance-1: WARNING: its dead-man's switch could not be postponed: no"]


def test_a_failure_names_the_instance_the_reason_and_the_end_of_its_log(
    sshd: Sshd, job: RemoteJob, tmp_path: Path
) -> None:
    supervise(sshd, job, "seq 1 50", until_it_ends=True)
    tell(job, state="failed", error="class 'moss' has 0 training images")
    one = worker(sshd, sshd.port, tmp_path)
    with one.remote, pytest.raises(StageFailed, match="failed on instance-1") as failed:
        followed([one], job)
    assert "class 'moss' has 0 training images" in failed.value.why
    assert "    50" in failed.value.why and "    30\n" not in failed.value.why


def test_a_supervisor_that_vanished_is_a_failure_and_not_waited_for(sshd: Sshd, job: RemoteJob, tmp_path: Path) -> None:
    supervise(sshd, job, "true", until_it_ends=True)
    tell(job, state="training")
    one = worker(sshd, sshd.port, tmp_path)
    with one.remote, pytest.raises(StageFailed, match="failed on instance-1") as failed:
        followed([one], job)
    assert "the supervisor on the instance is gone" in failed.value.why


def test_an_instance_that_ended_is_an_interruption_with_its_reason(
    sshd: Sshd, proxy: ChaosProxy, job: RemoteJob, tmp_path: Path
) -> None:
    one = worker(sshd, proxy.port, tmp_path, ended="Server.SpotInstanceTermination")
    with one.remote:
        one.remote.run("true")
        proxy.refuse()
        proxy.reset()
        outcome = followed([one], job)
    assert outcome.state == "interrupted"
    assert "Server.SpotInstanceTermination" in outcome.why


def test_one_instance_taken_back_interrupts_all_also_when_another_noticed_first(
    sshd: Sshd, job: RemoteJob, tmp_path: Path
) -> None:
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    supervise(sshd, job, "sleep 30")
    tell(job, state="failed", error="gloo: connection closed by peer")
    first, second = worker(sshd, sshd.port, tmp_path), worker(sshd, sshd.port, tmp_path, label="instance-2")
    second.status = {"state": "interrupted", "spot_notice": '{"action": "terminate"}', "error": "EC2 takes it back"}
    with first.remote, second.remote:
        outcome = followed([first, second], job)
    assert outcome.state == "interrupted"
    assert outcome.why == "EC2 takes it back"


def test_a_training_that_does_not_end_is_given_up_at_the_deadline(sshd: Sshd, job: RemoteJob, tmp_path: Path) -> None:
    supervise(sshd, job, "sleep 300")
    one = worker(sshd, sshd.port, tmp_path)
    tell(job, state="training")
    with one.remote:
        with pytest.raises(WaitTimedOut, match="waited"):
            followed([one], job, seconds=10.0)
        stop([one], job)
        is_there = f"kill -0 $(cat {shlex.quote(job.folder)}/pid)"
        wait_until(lambda: one.remote.run(is_there, check=False).exit_status != 0, "the end of the training")


def test_a_host_that_changed_its_key_is_not_reconnected_to(
    sshd: Sshd, proxy: ChaosProxy, job: RemoteJob, tmp_path: Path
) -> None:
    supervise(sshd, job, "sleep 60")
    one = worker(sshd, proxy.port, tmp_path)
    tell(job, state="training")
    with running_sshd() as stranger, one.remote:
        one.remote.run("true")
        proxy.target = (stranger.address, stranger.port)
        proxy.reset()
        with pytest.raises(RemoteFailed) as refused:
            followed([one], job)
        assert not isinstance(refused.value, ConnectionLost)
        assert stranger.logins() == 0


def test_a_job_with_a_model_or_a_living_supervisor_is_not_started_again(
    sshd: Sshd, job: RemoteJob, tmp_path: Path
) -> None:
    one = worker(sshd, sshd.port, tmp_path)
    with one.remote:
        tell(job, state="completed")
        assert start(one, job) is False
        supervise(sshd, job, "sleep 60")
        tell(job, state="training")
        assert start(one, job) is False


def test_a_model_that_is_not_what_was_packed_is_refused(sshd: Sshd, job: RemoteJob, tmp_path: Path) -> None:
    (Path(job.folder) / "model.tar.gz").write_bytes(b"a model")
    one = worker(sshd, sshd.port, tmp_path)
    one.status = {"model": {"sha256": hashlib.sha256(b"a model").hexdigest()}}
    with one.remote:
        assert download_model(one, job, tmp_path / "got" / "model.tar.gz") == one.status["model"]["sha256"]
        (Path(job.folder) / "model.tar.gz").write_bytes(b"another")
        with pytest.raises(RemoteFailed, match="the instance packed"):
            download_model(one, job, tmp_path / "got" / "model.tar.gz")


def test_a_model_is_brought_back_although_the_link_is_down_for_a_while(
    sshd: Sshd, proxy: ChaosProxy, job: RemoteJob, tmp_path: Path
) -> None:
    (Path(job.folder) / "model.tar.gz").write_bytes(b"a model")
    one = worker(sshd, proxy.port, tmp_path)
    one.status = {"model": {"sha256": hashlib.sha256(b"a model").hexdigest()}}
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            proxy.pass_on()

    with one.remote:
        one.remote.run("true")
        proxy.refuse()
        proxy.reset()
        assert download_model(one, job, tmp_path / "model.tar.gz", waiting=Waiting(lambda _: None, sleep=sleep))
    assert (tmp_path / "model.tar.gz").read_bytes() == b"a model" and len(waits) == 3


@pytest.mark.parametrize("ended", ["Server.SpotInstanceTermination", None])
def test_a_model_on_an_instance_that_ended_or_stays_out_of_reach_is_given_up(
    sshd: Sshd, proxy: ChaosProxy, job: RemoteJob, tmp_path: Path, ended: str | None
) -> None:
    proxy.refuse()
    one = worker(sshd, proxy.port, tmp_path, ended=ended)
    one.status = {"model": {"sha256": "x"}}
    now = iter(range(0, 10_000, 200))
    with pytest.raises(ConnectionLost):
        waiting = Waiting(lambda _: None, clock=lambda: float(next(now)), sleep=lambda _: None)
        download_model(one, job, tmp_path / "m", waiting=waiting)

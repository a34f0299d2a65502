"""Wait until a new machine accepts a login over SSH, and log what prevents it meanwhile.

Each attempt reads the facts about the instance from the caller (its state, its address, whether its port is open to us,
its console output) and then tries to log in. The facts and the result give a diagnosis, with a command that helps. A
problem that waiting cannot solve is raised at once. This module makes no AWS call.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tasks.run.errors import ConnectionLost, LoginRefused, RemoteFailed, WaitTimedOut
from tasks.run.waiting import REAL_TIME, SILENCE_SECONDS, Waiting
from tasks.ssh.connection import Obstacle
from tasks.ssh.login import Login
from tasks.ssh.remote import Remote

ATTEMPT_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, GROWTH = 0.5, 8.0, 1.6
LOGIN_GRACE_SECONDS = 60.0
"""The time for which a refused key is tolerated after the server's first answer; cloud-init may write it meanwhile."""

_INSTANCE = "aws ec2 describe-instances --instance-ids {}"
_CONSOLE = "aws ec2 get-console-output --latest --output text --instance-id {}"
_GROUPS = "aws ec2 describe-instance-attribute --attribute groupSet --instance-id {}"

_GONE = frozenset({"terminated", "shutting-down", "stopped", "stopping"})
_BOOT_IS_OVER = ("Cloud-init v. ", " finished at ")


@dataclass(frozen=True)
class InstanceFacts:
    """The facts that EC2 reports about an instance; a fact that is not known is None.

    `state` is EC2's ("pending", "running", …), and `state_reason` is the text of its StateReason. `address` is the
    address to connect to. `port_open_to_us` says whether a security group allows the connection. `console_tail` is the
    end of the console output, or "".
    """

    state: str
    state_reason: str | None = None
    address: str | None = None
    port_open_to_us: bool | None = None
    console_tail: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """The reason why no login is possible yet, and a command that shows or solves it."""

    words: str
    next_command: str


def wait_for_ssh(
    login: Login,
    get_facts: Callable[[], InstanceFacts],
    *,
    deadline_seconds: float,
    attempt_seconds: float = ATTEMPT_SECONDS,
    waiting: Waiting = REAL_TIME,
) -> Remote:
    """Return a connected remote; `get_facts` is called before each attempt, and its address replaces the login's.

    TCP connect, banner and handshake of an attempt may each take `attempt_seconds`.

    Raises:
        RemoteFailed: the instance was stopped or terminated; the message has its state reason.
        HostKeyRefused: the server's host key is not the pinned one.
        LoginRefused: the private key cannot be used; or the server still refuses it after the boot has finished or
            after `LOGIN_GRACE_SECONDS`.
        WaitTimedOut: `deadline_seconds` passed; the message has the last diagnosis.
    """
    login.private_key(), login.pinned_key()
    wait = _LoginWait(login, deadline_seconds, attempt_seconds, waiting)
    pause = FIRST_PAUSE_SECONDS
    while True:
        facts = get_facts()
        found = wait.attempt(facts)
        if isinstance(found, Remote):
            return found
        left = wait.report(found, facts)
        waiting.sleep(min(pause * random.uniform(0.5, 1.0), left))
        pause = min(pause * GROWTH, LONGEST_PAUSE_SECONDS)


class _LoginWait:
    """The state of one wait: its attempts, its last report, and the time when the key was first refused."""

    def __init__(self, login: Login, deadline_seconds: float, attempt_seconds: float, waiting: Waiting) -> None:
        self._login, self._say, self._clock = login, waiting.say, waiting.clock
        self._deadline_seconds, self._attempt_seconds = deadline_seconds, attempt_seconds
        self._begun = self._clock()
        self._attempts = 0
        self._last_report: tuple[str, float] | None = None
        self._refused_at: float | None = None

    def attempt(self, facts: InstanceFacts) -> Remote | Diagnosis:
        """Try to log in; return the connection or a diagnosis, or raise an error if waiting cannot help."""
        if facts.state in _GONE:
            raise self._gone(facts)
        if facts.state != "running":
            return self._diagnosis(f"the instance is {facts.state}", _INSTANCE)
        if facts.address is None:
            return self._diagnosis("the instance is running and has no address yet", _INSTANCE)
        return self._log_in(replace(self._login, address=facts.address), facts)

    def _log_in(self, login: Login, facts: InstanceFacts) -> Remote | Diagnosis:
        self._attempts += 1
        left = self._deadline_seconds - (self._clock() - self._begun)
        remote = Remote(login, connect_seconds=max(1.0, min(self._attempt_seconds, left)))
        try:
            remote.connect()
        except LoginRefused as error:
            return self._diagnose_refusal(error, login, facts)
        except ConnectionLost as error:
            return self._diagnose_lost_connection(error, login, facts)
        return remote

    def _diagnose_refusal(self, error: LoginRefused, login: Login, facts: InstanceFacts) -> Diagnosis:
        """Return a diagnosis while the instance may still be writing the key; raise the error after the boot."""
        now = self._clock()
        self._refused_at = now if self._refused_at is None else self._refused_at
        if all(sign in facts.console_tail for sign in _BOOT_IS_OVER) or now - self._refused_at >= LOGIN_GRACE_SECONDS:
            raise error
        words = f"the server refuses the login of {login.user}: user data may still be writing the key"
        return self._diagnosis(words, _CONSOLE)

    def _diagnose_lost_connection(self, error: ConnectionLost, login: Login, facts: InstanceFacts) -> Diagnosis:
        place = f"{login.address}:{login.port}"
        if facts.port_open_to_us is False and error.obstacle != Obstacle.NO_BANNER:
            words = f"no security group of the instance allows a connection from here to port {login.port}"
            return self._diagnosis(words, _GROUPS)
        if error.obstacle == Obstacle.REFUSED:
            return self._diagnosis(f"{place} refuses connections: the SSH server is not running yet", _CONSOLE)
        if error.obstacle == Obstacle.TIMED_OUT:
            words = f"{place} does not answer: a security group, a network ACL or a missing route blocks the connection"
            return self._diagnosis(words, _GROUPS)
        if error.obstacle == Obstacle.UNREACHABLE:
            words = f"{place} cannot be reached ({error.why}): check the route and the address"
            return self._diagnosis(words, _INSTANCE)
        if error.obstacle == Obstacle.NO_BANNER:
            words = f"{place} accepts connections, but the SSH server sends nothing: it is starting or overloaded"
            return self._diagnosis(words, _CONSOLE)
        return self._diagnosis(f"{place}: {error.why}", _CONSOLE)

    def report(self, found: Diagnosis, facts: InstanceFacts) -> float:
        """Log a diagnosis if it is new or if the last line is older than `SILENCE_SECONDS`; return the seconds left.

        Raises:
            WaitTimedOut: no time is left.
        """
        now = self._clock()
        spent = now - self._begun
        if spent >= self._deadline_seconds:
            raise self._timed_out(found, facts, spent)
        if (
            self._last_report is None
            or self._last_report[0] != found.words
            or now - self._last_report[1] >= SILENCE_SECONDS
        ):
            self._say(f"{self._login.where}: {found.words}, {spent:.0f} s")
            self._last_report = found.words, now
        return self._deadline_seconds - spent

    def _timed_out(self, found: Diagnosis, facts: InstanceFacts, spent: float) -> WaitTimedOut:
        what = f"no login within {spent:.0f} s and {self._attempts} attempts"
        last = facts.console_tail.strip().splitlines()[-1:]
        console = f"; the console's last line: {last[0].strip()}" if last else "; the console has no output yet"
        return WaitTimedOut(self._login.where, what, found.words + console, found.next_command)

    def _gone(self, facts: InstanceFacts) -> RemoteFailed:
        why = facts.state_reason or "AWS gave no reason"
        see = _INSTANCE.format(self._login.name)
        return RemoteFailed(self._login.where, f"the instance is {facts.state}", why, see)

    def _diagnosis(self, words: str, see: str) -> Diagnosis:
        return Diagnosis(words, see.format(self._login.name))

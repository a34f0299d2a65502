"""Waiting until a new machine lets us in, and saying at every moment what it is that keeps us out.

Every attempt looks at what is known of the machine (its state, its address, whether its port is open to us, what its
console says: given by the caller) and then tries to log in; the two together are the diagnosis, in words, with the
command that helps. What cannot become good by waiting fails at once. Calls nothing of AWS itself.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tasks.run.errors import ConnectionLost, LoginRefused, RemoteFailed, WaitTimedOut
from tasks.run.waiting import SILENCE_SECONDS, Say, say
from tasks.ssh.connection import Obstacle
from tasks.ssh.login import Login
from tasks.ssh.remote import Remote

ATTEMPT_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, GROWTH = 0.5, 8.0, 1.6
LOGIN_GRACE_SECONDS = 60.0
"""How long the key may still be refused after the server's first answer: cloud-init writes it while sshd is up."""

_INSTANCE = "aws ec2 describe-instances --instance-ids {}"
_CONSOLE = "aws ec2 get-console-output --latest --output text --instance-id {}"
_GROUPS = "aws ec2 describe-instance-attribute --attribute groupSet --instance-id {}"

_GONE = frozenset({"terminated", "shutting-down", "stopped", "stopping"})
_BOOT_IS_OVER = ("Cloud-init v. ", " finished at ")


@dataclass(frozen=True)
class InstanceFacts:
    """What the cloud says of an instance. None where it is not known.

    `state` is EC2's ("pending", "running", …), `state_reason` its StateReason in words, `address` where to connect to,
    `port_open_to_us` whether a security group lets us in, `console_tail` the end of the console's output, or "".
    """

    state: str
    state_reason: str | None = None
    address: str | None = None
    port_open_to_us: bool | None = None
    console_tail: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What keeps us out, in words, and what to type to see it or to end it."""

    words: str
    next_command: str


def wait_for_ssh(
    login: Login,
    look: Callable[[], InstanceFacts],
    *,
    deadline_seconds: float,
    attempt_seconds: float = ATTEMPT_SECONDS,
    say: Say = say,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Remote:
    """Return a connected remote. `look` is called before each attempt; the address it finds replaces the login's.

    The connect, banner and handshake of an attempt may take `attempt_seconds` each.

    Raises:
        RemoteFailed: the instance has ended or was stopped; its state reason is in the message.
        HostKeyRefused: another machine answers there; at once.
        LoginRefused: the key cannot be used here, at once; or it is still refused when the boot is over or a grace
            period has passed.
        WaitTimedOut: `deadline_seconds` passed; says the last diagnosis and the command that helps.
    """
    login.private_key(), login.pinned_key()
    waiting = _Waiting(login, deadline_seconds, attempt_seconds, say, clock)
    pause = FIRST_PAUSE_SECONDS
    while True:
        facts = look()
        found = waiting.attempt(facts)
        if isinstance(found, Remote):
            return found
        left = waiting.tell(found, facts)
        sleep(min(pause * random.uniform(0.5, 1.0), left))
        pause = min(pause * GROWTH, LONGEST_PAUSE_SECONDS)


class _Waiting:
    """One wait: its attempts, what it said last, and when the key was first refused."""

    def __init__(
        self, login: Login, deadline_seconds: float, attempt_seconds: float, say: Say, clock: Callable[[], float]
    ) -> None:
        self._login, self._say, self._clock = login, say, clock
        self._deadline_seconds, self._attempt_seconds = deadline_seconds, attempt_seconds
        self._begun = clock()
        self._attempts = 0
        self._told: tuple[str, float] | None = None
        self._refused_at: float | None = None

    def attempt(self, facts: InstanceFacts) -> Remote | Diagnosis:
        """Log in, or say why not yet; raise when it can no longer be."""
        if facts.state in _GONE:
            raise self._gone(facts)
        if facts.state != "running":
            return self._seen(f"the instance is {facts.state}", _INSTANCE)
        if facts.address is None:
            return self._seen("the instance runs and has no address yet", _INSTANCE)
        return self._log_in(replace(self._login, address=facts.address), facts)

    def _log_in(self, login: Login, facts: InstanceFacts) -> Remote | Diagnosis:
        self._attempts += 1
        left = self._deadline_seconds - (self._clock() - self._begun)
        remote = Remote(login, connect_seconds=max(1.0, min(self._attempt_seconds, left)))
        try:
            remote.connect()
        except LoginRefused as error:
            return self._refused(error, login, facts)
        except ConnectionLost as error:
            return self._unreached(error, login, facts)
        return remote

    def _refused(self, error: LoginRefused, login: Login, facts: InstanceFacts) -> Diagnosis:
        """Allow for a key that is still being written, but not when the boot is over."""
        now = self._clock()
        self._refused_at = now if self._refused_at is None else self._refused_at
        if all(sign in facts.console_tail for sign in _BOOT_IS_OVER) or now - self._refused_at >= LOGIN_GRACE_SECONDS:
            raise error
        words = f"the server answers, but does not let {login.user} in: user data may still be writing the key"
        return self._seen(words, _CONSOLE)

    def _unreached(self, error: ConnectionLost, login: Login, facts: InstanceFacts) -> Diagnosis:
        place = f"{login.address}:{login.port}"
        if facts.port_open_to_us is False and error.obstacle != Obstacle.NO_BANNER:
            words = f"no security group of the instance lets us in at port {login.port}"
            return self._seen(words, _GROUPS)
        if error.obstacle == Obstacle.REFUSED:
            return self._seen(f"{place} refuses: the SSH server is not up yet", _CONSOLE)
        if error.obstacle == Obstacle.TIMED_OUT:
            words = f"{place} does not answer: a security group, a network ACL or a route stands in between"
            return self._seen(words, _GROUPS)
        if error.obstacle == Obstacle.UNREACHABLE:
            words = f"{place} cannot be reached ({error.why}): is there a route, and is the address right?"
            return self._seen(words, _INSTANCE)
        if error.obstacle == Obstacle.NO_BANNER:
            words = f"{place} accepts connections, but the SSH server says nothing: it is starting, or overloaded"
            return self._seen(words, _CONSOLE)
        return self._seen(f"{place}: {error.why}", _CONSOLE)

    def tell(self, found: Diagnosis, facts: InstanceFacts) -> float:
        """Say a diagnosis when it is new, or now and then; return the seconds that are left.

        Raises:
            WaitTimedOut: none are left.
        """
        now = self._clock()
        spent = now - self._begun
        if spent >= self._deadline_seconds:
            raise self._timed_out(found, facts, spent)
        if self._told is None or self._told[0] != found.words or now - self._told[1] >= SILENCE_SECONDS:
            self._say(f"{self._login.where}: {found.words}, {spent:.0f} s")
            self._told = found.words, now
        return self._deadline_seconds - spent

    def _timed_out(self, found: Diagnosis, facts: InstanceFacts, spent: float) -> WaitTimedOut:
        what = f"no login within {spent:.0f} s and {self._attempts} attempts"
        last = facts.console_tail.strip().splitlines()[-1:]
        console = f"; the console's last line: {last[0].strip()}" if last else "; the console shows nothing yet"
        return WaitTimedOut(self._login.where, what, found.words + console, found.next_command)

    def _gone(self, facts: InstanceFacts) -> RemoteFailed:
        why = facts.state_reason or "AWS gave no reason"
        see = _INSTANCE.format(self._login.name)
        return RemoteFailed(self._login.where, f"the instance is {facts.state}", why, see)

    def _seen(self, words: str, see: str) -> Diagnosis:
        return Diagnosis(words, see.format(self._login.name))

"""An EC2 instance: moto's record with a machine behind it, whose states follow the machine.

`pending` becomes `running` when the machine reports it, `stopping` becomes `stopped` and `shutting-down` becomes
`terminated` when its processes are gone. What takes time is done on a thread of the instance's own, one step after the
other. If a machine cannot be ended, its instance stays in the state between.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.models.instances import Instance, InstanceState, StateReason

from localaws.ec2.errors import wrong_state
from localaws.ec2.launch_request import LaunchRequest
from localaws.ec2.machine import Ingress, Machine
from localaws.ec2.state_reasons import BY_ITSELF, SPOT_INTERRUPTION, Reason, by_fault, by_user
from localaws.errors import LocalAwsError

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
SHUTDOWN_SECONDS = 30.0  # of AWS's clock, from SIGTERM to SIGKILL of what runs on an instance that is shut down
NOTICE_SECONDS = 120.0  # of AWS's clock, from the notice of a spot interruption to the interruption


@dataclass(frozen=True)
class Addresses:
    """An instance's private address, and the public one if it has any."""

    private: str
    public: str | None


class ExecutingInstance(Instance):
    """One instance. `machine` is given to it right after it is made."""

    machine: Machine

    def __init__(self, ec2_backend: Any, request: LaunchRequest, *, index: int, addresses: Addresses) -> None:
        parameters, placement = request.parameters, request.placement
        super().__init__(
            ec2_backend,
            request.image_id,
            Base64EncodedString(parameters["UserData"]) if parameters.get("UserData") else None,
            list(request.groups),
            instance_type=request.instance_type,
            region_name=ec2_backend.region_name,
            subnet_id=placement.subnet_id,
            key_name=request.key_name,
            ami_launch_index=index,
            client_token=parameters.get("ClientToken"),
            lifecycle="spot" if request.is_spot else None,
            metadata_options=dict(request.metadata_options),
            ebs_optimized=bool(parameters.get("EbsOptimized")),
            disable_api_stop=bool(parameters.get("DisableApiStop")),
            disable_api_termination=bool(parameters.get("DisableApiTermination")),
            monitoring_state="enabled" if (parameters.get("Monitoring") or {}).get("Enabled") else "disabled",
            instance_initiated_shutdown_behavior="terminate" if request.terminates_on_shutdown else "stop",
            nics=[{"DeviceIndex": 0, "SubnetId": placement.subnet_id, "DeleteOnTermination": True}],
        )
        self._state = InstanceState("pending", CODES["pending"])
        if request.profile is not None:
            self.iam_instance_profile = {"Arn": request.profile.arn, "Id": request.profile.identifier}
        self.is_reachable = False
        self._addresses = addresses
        self._ingress: tuple[Ingress, ...] | None = None
        self._console = b""
        self._interruption: tuple[datetime, threading.Timer] | None = None
        self._guard = threading.RLock()  # of the state
        self._power = threading.Lock()  # one thing at a time is done to the machine
        self._show_addresses(placement.interface_description)

    # What the API shows

    @property
    def is_spot(self) -> bool:
        """Whether it runs on spot capacity."""
        return self.lifecycle == "spot"

    @property
    def is_terminated(self) -> bool:
        """Whether it is gone for good."""
        return self.state == "terminated"

    @property
    def private_ip(self) -> str | None:
        """The machine's address in the VPC."""
        return None if self.is_terminated else self._addresses.private

    @property
    def private_ip_address(self) -> str | None:
        """The same, as the API calls it."""
        return self.private_ip

    @property
    def private_dns_name(self) -> str:
        """The name made of the private address."""
        return super().private_dns_name if self.private_ip else ""

    @property
    def public_ip(self) -> str | None:
        """The machine's address for callers, while it has one."""
        return None if self.state in ("stopped", "terminated") else self._addresses.public

    @property
    def public_ip_address(self) -> str | None:
        """The same, as the API calls it."""
        return self.public_ip

    @property
    def public_dns_name(self) -> str:
        """Empty: no name server knows the name that AWS would give it."""
        return ""

    @property
    def subnet_id(self) -> str | None:
        """The subnet that it is in."""
        return None if self.is_terminated else super().subnet_id

    @property
    def instance_status(self) -> dict[str, Any]:
        """The instance status check: passed while the machine answers."""
        if self.state != "running":
            return {"Status": "not-applicable"}
        status, check = ("ok", "passed") if self.is_reachable else ("initializing", "initializing")
        return {"Status": status, "Details": [{"Name": "reachability", "Status": check}]}

    @property
    def system_status(self) -> dict[str, Any]:
        """The system status check, which is the same here."""
        return self.instance_status

    def console(self) -> bytes:
        """Return the console's output, also of an instance that is terminated."""
        return self._console if self.is_terminated else self.machine.console()

    # What the machine says

    def on_running(self) -> None:
        """Take note that the machine runs."""
        with self._guard:
            if self.state in ("pending", "running"):
                self._enter("running")
                self.is_reachable = True

    def on_ended(self, reason: str) -> None:
        """Follow a machine that ended by itself: `reason` is "shutdown" or "crashed: …"."""
        with self._guard:
            if self.state not in ("pending", "running"):
                return
            if reason != "shutdown":
                self.terminate(by_fault(reason, is_launch=self.state == "pending"))
            elif self.is_spot or self.instance_initiated_shutdown_behavior == "terminate":
                self.terminate(BY_ITSELF)
            else:
                self.stop(BY_ITSELF)

    # What the API asks for

    def boot(self) -> None:
        """Start the machine for the first time."""
        self._later(self._power_on)

    def start(self) -> InstanceState:
        """Start a stopped instance; return the state it was in.

        Raises: AwsError IncorrectInstanceState.
        """
        with self._guard:
            previous = self._state
            if previous.name not in ("stopped", "pending", "running"):
                raise wrong_state(self.id, "started")
            if previous.name == "stopped":
                self._enter("pending")
                self.launch_time = utcnow()
                self.boot()
            return previous

    def stop(self, reason: Reason | None = None) -> InstanceState:
        """Stop a running instance; return the state it was in.

        Raises: AwsError IncorrectInstanceState.
        """
        with self._guard:
            previous = self._state
            if previous.name in ("shutting-down", "terminated") or (previous.name == "pending" and reason is None):
                raise wrong_state(self.id, "stopped")
            if previous.name in ("pending", "running"):
                self._enter("stopping", reason or by_user())
                self._later(self._power_off)
            return previous

    def reboot(self) -> None:
        """Restart what runs on it; it stays `running`, as on AWS, and its status checks start over.

        Raises: AwsError IncorrectInstanceState.
        """
        with self._guard:
            if self.state != "running":
                raise wrong_state(self.id, "rebooted")
            self.is_reachable = False
            self._later(self._restart)

    def terminate(self, reason: Reason | None = None) -> InstanceState:
        """Terminate the instance; return the state it was in. Once more changes nothing."""
        with self._guard:
            previous = self._state
            if previous.name not in ("shutting-down", "terminated"):
                self._enter("shutting-down", reason or by_user())
                self._cancel_interruption()
                self._later(lambda: self._destroy(has_sessions=previous.name == "running"))
            return previous

    def interrupt(self) -> datetime:
        """Give a spot instance its notice and return when it is taken back.

        Raises: AwsError IncorrectInstanceState when it does not run.
        """
        with self._guard:
            if self.state != "running":
                raise wrong_state(self.id, "interrupted")
            if self._interruption is None:
                seconds = NOTICE_SECONDS / self.ec2_backend.core.settings.time_scale
                moment = datetime.now(UTC) + timedelta(seconds=seconds)
                timer = threading.Timer(seconds, self.terminate, (SPOT_INTERRUPTION,))
                timer.daemon = True
                self.machine.notify_interruption("terminate", moment)
                timer.start()
                self._interruption = moment, timer
            return self._interruption[0]

    def let_in(self, ingress: tuple[Ingress, ...]) -> None:
        """Let exactly these reach the machine from now on."""
        if ingress != self._ingress:
            self.machine.allow(ingress)
            self._ingress = ingress

    # What is done about it, on a thread of its own

    def _power_on(self) -> None:
        if self.state in ("pending", "running"):
            try:
                self.machine.boot()
            except (LocalAwsError, OSError) as error:
                self.on_ended(f"crashed: {error}")

    def _power_off(self) -> None:
        if self.state == "stopping":
            self.machine.stop(self._grace_seconds)
            with self._guard:
                if self.state == "stopping":
                    self._enter("stopped")

    def _restart(self) -> None:
        if self.state == "running":
            self.machine.stop(self._grace_seconds)
            self._power_on()

    def _destroy(self, *, has_sessions: bool) -> None:
        if has_sessions:
            self.machine.stop(self._grace_seconds)
        self._console = self.machine.console()
        self.machine.destroy()
        self.teardown_defaults()
        for interface in list(self.nics.values()):
            interface.delete()
        with self._guard:
            self.nics, self.security_groups = {}, []
            self._enter("terminated")
        self.ec2_backend.apply_rules()

    @property
    def _grace_seconds(self) -> float:
        return float(SHUTDOWN_SECONDS / self.ec2_backend.core.settings.time_scale)

    def _later(self, action: Callable[[], None]) -> None:
        def act() -> None:
            with self._power:
                action()

        threading.Thread(target=act, name=f"{self.id}", daemon=True).start()

    def _enter(self, state: str, reason: Reason | None = None) -> None:
        """Change the state; the reason of a state lasts until the instance is started again."""
        self._state = InstanceState(state, CODES[state])
        if state != "running":
            self.is_reachable = False
        if reason is not None:
            self.state_reason, self._reason = StateReason(reason.message, reason.code), reason.transition
        elif state in ("pending", "running"):
            self.state_reason, self._reason = StateReason(), ""

    def _cancel_interruption(self) -> None:
        if self._interruption is not None:
            self._interruption[1].cancel()

    def _show_addresses(self, description: str) -> None:
        """Have moto's network interface show the machine's addresses instead of those that moto made up."""
        interface = self.nics[0]
        for made_up in self._private_ips:
            interface.subnet.del_subnet_ip(made_up)
        self._private_ips.clear()
        interface.private_ip_address = self._addresses.private
        interface.private_ip_addresses = [{"Primary": True, "PrivateIpAddress": self._addresses.private}]
        interface.public_ip, interface.public_ip_auto_assign = self._addresses.public, False
        interface.private_dns_name = self.private_dns_name
        interface.description = description

"""The description of an instance and of who may reach it, shared by the control plane and the machine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ingress:
    """Who may reach which ports of a machine: one rule of a security group, with groups resolved to addresses.

    `protocol` is "tcp", "udp", "icmp" or "-1" (all); ports are inclusive. `cidrs` are callers from outside (the caller
    of localaws is 127.0.0.1), `peers` the private addresses of other instances.
    """

    protocol: str
    from_port: int
    to_port: int
    cidrs: tuple[str, ...]
    peers: tuple[str, ...]


@dataclass(frozen=True)
class MachineSpec:
    """What a machine is made of. `user_data` is decoded; `public_key` is one line as in `authorized_keys`."""

    instance_id: str
    instance_type: str
    ami_id: str
    availability_zone: str
    private_address: str
    public_address: str | None
    user_data: bytes
    public_key: str | None
    role_arn: str | None
    profile_arn: str | None
    requires_token: bool
    is_spot: bool

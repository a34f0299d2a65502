"""Addresses and paths in an EC2 instance or a training host that both the server and programs in it use."""

import ipaddress

ROUTER = "172.31.0.1"  # as on AWS, the first address of the network
CALLER = "192.0.2.1"  # what instances see of a caller from outside; an address of no network
METADATA = ("169.254.169.254", 80)
SSH_PORT = 22
RUN = "/run/localaws"  # localaws's own folder in an instance, made anew at each boot
PROGRAMS = f"{RUN}/programs"
SHIMS = f"{RUN}/shims"
ENVIRONMENT = "/opt/pytorch"  # where the Deep Learning AMI has its Python environment
POWER_SOCKET = "power"
USER = "ubuntu"
USER_ID = 1000
USER_HOME = f"/home/{USER}"
CLOUD = "var/lib/cloud"  # below the root
OUTPUT_LOG = "var/log/cloud-init-output.log"
POWER_NAMES = ("shutdown", "poweroff", "reboot", "halt", "systemctl")
HOST_INTERFACE = "eth0"  # of a training host
HOST_NAME = "aws"  # of every training host; images whose entry point is not replaced make it algo-1, algo-2, ...
HOSTS_ROUTER = "10.0.0.1"


def address_of_host(index: int) -> str:
    """Return the address of a training job's host number `index`, from 0."""
    return str(ipaddress.IPv4Address(HOSTS_ROUTER) + 10 + index)

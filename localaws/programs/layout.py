"""Addresses and paths in an instance that both the server and the instance use."""

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

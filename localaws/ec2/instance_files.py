"""Writes the files that an instance boots from: its folder, keys, user data, environment and metadata, from its spec.

Writes below `home/instances/<id>/`: `root` (the disk), `shims`, `plan.json` (for `programs/instance.py`) and
`console.log`.
"""

import base64
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localaws.ec2 import host_keys, root_folder, shims, ssh_service, user_data
from localaws.ec2.images import release_of
from localaws.ec2.metadata import Identity
from localaws.ec2.network import SYSTEM_PATH, disk_paths
from localaws.ec2.spec import MachineSpec
from localaws.programs import FOLDER
from localaws.programs.layout import ENVIRONMENT, PROGRAMS, RUN, SHIMS
from localaws.programs.path_rewriting import rewrite
from localaws.settings import Settings

CLOUD_INIT_VERSION = "localaws"


@dataclass(frozen=True)
class InstanceFiles:
    """One instance's folder and how it is reached inside. `ssh_address`: where its SSH server listens."""

    folder: Path
    spec: MachineSpec
    settings: Settings
    ssh_address: tuple[str, int]
    metadata_url: str | None
    sshd: str | None

    @property
    def is_isolated(self) -> bool:
        """Whether the instance has namespaces; without, it asks for its metadata at an address of its own."""
        return self.metadata_url is None

    @property
    def root(self) -> Path:
        """The disk."""
        return self.folder / "root"

    @property
    def plan(self) -> Path:
        """The file that tells the instance's first process what to do."""
        return self.folder / "plan.json"

    def build(self) -> None:
        """Write what the next boot needs; the disk only before the first."""
        wanted = user_data.take_apart(self.spec.user_data)
        programs = PROGRAMS if self.is_isolated else str(FOLDER)
        if not self.plan.exists():
            self._make_disk(wanted)
        shims.write(self.folder / "shims", root=self._before, programs=programs, run=RUN)
        part = self.plan.with_suffix(".part")
        part.write_text(json.dumps(self._plan(wanted)))
        part.replace(self.plan)

    @property
    def _before(self) -> str:
        return "" if self.is_isolated else str(self.root)

    def _make_disk(self, wanted: user_data.UserData) -> None:
        spec = self.spec
        root_folder.make(
            self.root, hostname=hostname(spec), private_address=spec.private_address, release=release_of(spec.ami_id)
        )
        keys = _host_keys(wanted)
        own = [spec.public_key] if spec.public_key else []
        root_folder.add_keys(self.root, keys, [*own, *wanted.authorized_keys])
        (self.folder / "host_keys.json").write_text(json.dumps([key.kind for key in keys]))
        (self.folder / "host_keys.txt").write_text(host_keys.report(keys, hostname(spec)))
        if not self.is_isolated:
            root_folder.add_environment(self.root, Path(sys.prefix))
            (self.root / RUN.lstrip("/") / "shims").symlink_to(self.folder / "shims")
        service = self._ssh_service([key.kind for key in keys])
        (self.root / "etc/ssh/sshd_config").write_text(service.configuration)

    def _ssh_service(self, kinds: list[str]) -> ssh_service.SshService:
        if self.sshd is not None:
            return ssh_service.openssh(self.sshd, kinds, self.environment())
        root = None if self.is_isolated else self.root
        return ssh_service.embedded(root, self.ssh_address, kinds, self.environment())

    def environment(self) -> dict[str, str]:
        """Return what logins and user data have in their environment, besides the user's own."""
        shim_folder = f"{self._before}{SHIMS}"
        path = f"{SYSTEM_PATH}:{self._before}{ENVIRONMENT}/bin"
        is_first_anyway = self.is_isolated and Path("/usr/local/sbin").is_dir()
        environment = {
            "PATH": path if is_first_anyway else f"{shim_folder}:{path}",
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": self.settings.url,
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        if self.metadata_url is not None:
            environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = self.metadata_url
            environment["TMPDIR"] = f"{self.root}/tmp"  # noqa: S108 the instance's own
        return environment

    def _plan(self, wanted: user_data.UserData) -> dict[str, Any]:
        environment = self.environment()
        kinds = json.loads((self.folder / "host_keys.json").read_text())
        return {
            **disk_paths(self.folder),
            "instance_id": self.spec.instance_id,
            "hostname": hostname(self.spec),
            "time_scale": self.settings.time_scale,
            "booted": time.time(),
            "version": CLOUD_INIT_VERSION,
            "environment": {**environment, "HOME": f"{self._before}/root", "USER": "root"},
            "ssh_address": self.ssh_address,
            "ssh_command": self._ssh_service(kinds).command,
            "ssh_environment": environment,
            "host_key_report": (self.folder / "host_keys.txt").read_text(),
            "notices": wanted.notices,
            "bootcmd": self._text(wanted.bootcmd),
            "files": [_file(each) for each in wanted.files],
            "scripts": [[name, self._text(script)] for name, script in wanted.scripts],
        }

    def _text(self, script: str) -> str:
        return script if self.is_isolated else rewrite(script, self.root)

    def identity(self) -> Identity:
        """Return what the instance's metadata says of it."""
        spec, settings = self.spec, self.settings
        name = f"{hostname(spec)}.ec2.internal"
        document = {
            "accountId": settings.account_id,
            "architecture": "x86_64",
            "availabilityZone": spec.availability_zone,
            "imageId": spec.ami_id,
            "instanceId": spec.instance_id,
            "instanceType": spec.instance_type,
            "privateIp": spec.private_address,
            "region": settings.region,
            "version": "2017-09-30",
        }
        values: dict[str, str | bytes] = {
            "meta-data/ami-id": spec.ami_id,
            "meta-data/ami-launch-index": "0",
            "meta-data/hostname": name,
            "meta-data/instance-id": spec.instance_id,
            "meta-data/instance-life-cycle": "spot" if spec.is_spot else "on-demand",
            "meta-data/instance-type": spec.instance_type,
            "meta-data/local-hostname": name,
            "meta-data/local-ipv4": spec.private_address,
            "meta-data/placement/availability-zone": spec.availability_zone,
            "meta-data/placement/region": settings.region,
            "meta-data/services/domain": "amazonaws.com",
            "dynamic/instance-identity/document": json.dumps(document, indent=2),
        }
        if spec.public_address:
            values["meta-data/public-ipv4"] = spec.public_address
        if spec.public_key:
            values["meta-data/public-keys/0/openssh-key"] = spec.public_key
        if spec.user_data:
            values["user-data"] = spec.user_data
        return Identity(values, spec.role_arn, spec.profile_arn, spec.requires_token)


def hostname(spec: MachineSpec) -> str:
    """Return an instance's host name, as AWS makes it of the private address."""
    return f"ip-{spec.private_address.replace('.', '-')}"


def _host_keys(wanted: user_data.UserData) -> list[host_keys.HostKey]:
    keys: dict[str, host_keys.HostKey] = {}
    for text in wanted.host_keys:
        try:
            key = host_keys.read(text)
            keys[key.kind] = key
        except ValueError as error:
            wanted.notices.append(f"cloud-config key 'ssh_keys': {error}")
    return list(keys.values()) or host_keys.generate()


def _file(file: user_data.File) -> dict[str, Any]:
    return {
        "path": file.path,
        "content": base64.b64encode(file.content).decode(),
        "permissions": file.permissions,
        "append": file.append,
    }

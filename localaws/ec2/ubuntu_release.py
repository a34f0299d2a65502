"""What an Ubuntu image's files say of the system. The texts are those of the package `base-files` of each release."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class UbuntuRelease:
    """A release of Ubuntu. `version` is that of its images (22.04.5), `debian` what `/etc/debian_version` says."""

    version: str
    code_name: str
    title: str
    debian: str

    @property
    def number(self) -> str:
        """The release's number (22.04)."""
        return self.version[:5]

    def files(self) -> Mapping[str, str]:
        """Return the texts of the files in /etc that tell the release, by name."""
        shown = f"Ubuntu {self.version} LTS"
        return {
            "os-release": f'PRETTY_NAME="{shown}"\nNAME="Ubuntu"\nVERSION_ID="{self.number}"\n'
            f'VERSION="{self.version} LTS ({self.title})"\nVERSION_CODENAME={self.code_name}\nID=ubuntu\n'
            f'ID_LIKE=debian\nHOME_URL="https://www.ubuntu.com/"\nSUPPORT_URL="https://help.ubuntu.com/"\n'
            f'BUG_REPORT_URL="https://bugs.launchpad.net/ubuntu/"\nUBUNTU_CODENAME={self.code_name}\n',
            "lsb-release": f"DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE={self.number}\nDISTRIB_CODENAME={self.code_name}\n"
            f'DISTRIB_DESCRIPTION="{shown}"\n',
            "debian_version": f"{self.debian}\n",
            "issue": f"{shown} \\n \\l\n\n",
            "issue.net": f"{shown}\n",
        }


JAMMY = UbuntuRelease("22.04.5", "jammy", "Jammy Jellyfish", "bookworm/sid")
NOBLE = UbuntuRelease("24.04.2", "noble", "Noble Numbat", "trixie/sid")
RELEASES = {each.number: each for each in (JAMMY, NOBLE)}

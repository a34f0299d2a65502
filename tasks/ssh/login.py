"""What a connection needs, all known before the first connect: where, who, with which key, and the host's own key.

Reads the private key's file; connects to nothing.
"""

from __future__ import annotations

import base64
import binascii
import io
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from paramiko.pkey import UnknownKeyType

from tasks.run.errors import HostKeyRefused, LoginRefused


@dataclass(frozen=True)
class Login:
    """How to reach one machine. `name` is the instance id, under which its host key is known, whatever its address.

    `host_key` is "ssh-ed25519 AAAA…", the only one accepted; `key_path` a private key of mode 0600 without passphrase.
    """

    name: str
    address: str
    port: int
    user: str
    key_path: Path
    host_key: str

    @property
    def where(self) -> str:
        """The step that errors of this machine name."""
        return f"ssh {self.name}"

    def command_line(self, *command: str) -> str:
        """Return what a person types to get there with OpenSSH, the same host key pinned."""
        known = f"KnownHostsCommand=/bin/echo %H {self.host_key}"
        options = ["-i", str(self.key_path), "-p", str(self.port), "-o", known, "-o", "UserKnownHostsFile=none"]
        return shlex.join(["ssh", *options, "-o", "StrictHostKeyChecking=yes", f"{self.user}@{self.address}", *command])

    def pinned_key(self) -> paramiko.PKey:
        """Return the host key that must answer.

        Raises:
            HostKeyRefused: `host_key` is not a public key in OpenSSH's form.
        """
        kind, _, encoded = self.host_key.partition(" ")
        try:
            blob = base64.b64decode(encoded.split(" ")[0], validate=True)
            return paramiko.PKey.from_type_string(kind, blob)
        except (binascii.Error, paramiko.SSHException, ValueError, UnknownKeyType) as error:
            why = f"the key to expect is not one in OpenSSH's form ({error})"
            raise HostKeyRefused(
                self.where, f"host key {self.host_key!r}", why, "give it as ssh-ed25519 AAAA…"
            ) from error

    def private_key(self) -> paramiko.PKey:
        """Return the key to log in with.

        Raises:
            LoginRefused: the file is missing, readable by others, protected by a passphrase, or not a private key.
        """
        self._check_mode()
        try:
            return _read(self.key_path.read_bytes())
        except TypeError as error:  # what cryptography raises when it would need a password
            change = f"ssh-keygen -p -N '' -f {shlex.quote(str(self.key_path))}"
            raise self._key_refused("it is protected by a passphrase, which nobody is there to type", change) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            make = "give the private key itself: ssh-keygen -t ed25519 -N '' makes one"
            raise self._key_refused("it is not a private key in a form that is known (OpenSSH or PEM)", make) from error

    def _check_mode(self) -> None:
        try:
            found = self.key_path.stat()
        except OSError as error:
            hint = f"ls -l {shlex.quote(str(self.key_path.parent))}"
            raise self._key_refused(error.strerror or "it cannot be read", hint) from error
        if stat.S_IMODE(found.st_mode) & 0o077:
            change = f"chmod 600 {shlex.quote(str(self.key_path))}"
            raise self._key_refused(f"its mode is {stat.S_IMODE(found.st_mode):04o}: others may read it", change)

    def _key_refused(self, why: str, next_command: str) -> LoginRefused:
        return LoginRefused(self.where, f"private key {self.key_path}", why, next_command)


def _read(content: bytes) -> paramiko.PKey:
    """Read a private key by way of cryptography.

    paramiko's own reader takes an OpenSSH key without a comment for padding when its length is a multiple of a block's
    length, and refuses it: half of all ECDSA keys.
    """
    is_openssh = b"OPENSSH PRIVATE KEY" in content
    key = load_ssh_private_key(content, None) if is_openssh else load_pem_private_key(content, None)
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey(key=key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return paramiko.ECDSAKey(vals=(key, key.public_key()))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        return paramiko.Ed25519Key.from_private_key(io.StringIO(plain.decode()))
    raise ValueError(f"a key of kind {type(key).__name__} cannot log in")

"""Describe how to log in to a machine: its address, the user, the private key and the expected host key.

This module reads the private key's file and opens no connection.
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

from tasks.run.command_line import path_argument
from tasks.run.errors import HostKeyRefused, LoginRefused


@dataclass(frozen=True)
class Login:
    """The login of one machine.

    `name` is the instance id; the host key belongs to it and not to the address, which may change. `host_key` has the
    form "ssh-ed25519 AAAA…"; no other key is accepted. `key_path` is a private key of mode 0600 without a passphrase.
    """

    name: str
    address: str
    port: int
    user: str
    key_path: Path
    host_key: str

    @property
    def where(self) -> str:
        """The `where` of errors that concern this machine."""
        return f"ssh {self.name}"

    def command_line(self, *command: str) -> str:
        """Return an OpenSSH command line for this login, with the same pinned host key."""
        known = f"KnownHostsCommand=/bin/echo %H {self.host_key}"
        options = ["-i", str(self.key_path), "-p", str(self.port), "-o", known, "-o", "UserKnownHostsFile=none"]
        return shlex.join(["ssh", *options, "-o", "StrictHostKeyChecking=yes", f"{self.user}@{self.address}", *command])

    def pinned_key(self) -> paramiko.PKey:
        """Return the host key that the server must show.

        Raises:
            HostKeyRefused: `host_key` is not a public key in OpenSSH's format.
        """
        kind, _, encoded = self.host_key.partition(" ")
        try:
            blob = base64.b64decode(encoded.split(" ")[0], validate=True)
            return paramiko.PKey.from_type_string(kind, blob)
        except (binascii.Error, paramiko.SSHException, ValueError, UnknownKeyType) as error:
            why = f"the expected host key is not in OpenSSH's format ({error})"
            raise HostKeyRefused(
                self.where, f"host key {self.host_key!r}", why, "give it as ssh-ed25519 AAAA…"
            ) from error

    def private_key(self) -> paramiko.PKey:
        """Return the private key for the login.

        Raises:
            LoginRefused: the file is missing, readable by other users, protected by a passphrase, or not a private key.
        """
        self._check_mode()
        try:
            return _read(self.key_path.read_bytes())
        except TypeError as error:  # cryptography raises it when the key needs a password
            change = f"ssh-keygen -p -N '' -f {path_argument(self.key_path)}"
            raise self._key_refused("it is protected by a passphrase, which kennel cannot enter", change) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            make = "give the private key itself: ssh-keygen -t ed25519 -N '' makes one"
            raise self._key_refused("it is not a private key in OpenSSH or PEM format", make) from error

    def _check_mode(self) -> None:
        try:
            found = self.key_path.stat()
        except OSError as error:
            hint = f"ls -l {path_argument(self.key_path.parent)}"
            raise self._key_refused(error.strerror or "it cannot be read", hint) from error
        if stat.S_IMODE(found.st_mode) & 0o077:
            change = f"chmod 600 {path_argument(self.key_path)}"
            why = f"its mode is {stat.S_IMODE(found.st_mode):04o}, so other users may read it"
            raise self._key_refused(why, change)

    def _key_refused(self, why: str, next_command: str) -> LoginRefused:
        return LoginRefused(self.where, f"private key {self.key_path}", why, next_command)


def _read(content: bytes) -> paramiko.PKey:
    """Parse a private key with `cryptography` and convert it to paramiko's class.

    paramiko's own parser refuses an OpenSSH key without a comment if its length is a multiple of the block length,
    because it expects padding. That concerns half of all ECDSA keys.
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
    raise ValueError(f"a key of kind {type(key).__name__} cannot be used for a login")

"""An instance's SSH host keys: taken from user data or made here, and reported on the console as cloud-init does."""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
HASHES = "#" * 61


@dataclass(frozen=True)
class HostKey:
    """One key: `kind` as in its file's name, `private` in OpenSSH form, `public` one line without a comment."""

    kind: str
    bits: int
    private: str
    public: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key as OpenSSH prints it."""
        digest = hashlib.sha256(base64.b64decode(self.public.split()[1])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def read(text: str) -> HostKey:
    """Return the key of a private key's text, in OpenSSH or PEM form, without a passphrase.

    Raises:
        ValueError: it is none of the types ed25519, ecdsa and rsa, or not readable.
    """
    data = text.strip().encode() + b"\n"
    try:
        load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else load_pem_private_key
        private = load(data, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"a host key cannot be read: {error}") from error
    if not isinstance(private, Private):
        raise ValueError(f"a host key is of type {type(private).__name__}; emulated: ed25519, ecdsa, rsa")
    return _describe(private)


def generate() -> list[HostKey]:
    """Make the keys of an instance that brings none: ECDSA and Ed25519. cloud-init makes RSA too, which takes long."""
    return [_describe(ec.generate_private_key(ec.SECP256R1())), _describe(ed25519.Ed25519PrivateKey.generate())]


def report(keys: list[HostKey], hostname: str) -> str:
    """Return what cloud-init prints of the keys on the console."""
    who = f"root@{hostname}"
    prints = [f"ec2: {key.bits} {key.fingerprint} {who} ({key.kind.upper()})" for key in keys]
    return "\n".join(
        [
            "ec2: ",
            f"ec2: {HASHES}",
            "ec2: -----BEGIN SSH HOST KEY FINGERPRINTS-----",
            *prints,
            "ec2: -----END SSH HOST KEY FINGERPRINTS-----",
            f"ec2: {HASHES}",
            "-----BEGIN SSH HOST KEY KEYS-----",
            *[f"{key.public} {who}" for key in keys],
            "-----END SSH HOST KEY KEYS-----",
        ]
    )


def _describe(private: Private) -> HostKey:
    kind, bits = _kind_and_bits(private)
    return HostKey(
        kind,
        bits,
        private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
    )


def _kind_and_bits(private: Private) -> tuple[str, int]:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519", 256
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return "ecdsa", private.key_size
    return "rsa", private.key_size

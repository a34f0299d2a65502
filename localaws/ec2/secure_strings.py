"""SecureString parameters of SSM: without decryption a client sees what KMS made of them, and nothing else is kept."""

import base64
import os
from typing import Any

import moto.ssm.models as moto_models
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY = AESGCM(AESGCM.generate_key(256))  # the account's, of this server
_BEGIN = b"\x01\x02\x02\x00\x78"  # as ciphertexts of KMS begin (AQICAHh… in base64)
_NONCE_BYTES = 12
_moto_parameter: Any = moto_models.Parameter


class SealedParameter(_moto_parameter):  # type: ignore[misc]  # its base is moto's
    """A parameter whose value is kept encrypted if it is a SecureString."""

    def encrypt(self, value: str) -> str:
        """Return the ciphertext, in base64."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = _KEY.encrypt(nonce, value.encode(), str(self.name).encode())
        return base64.b64encode(_BEGIN + nonce + sealed).decode()

    def decrypt(self, value: str) -> str | None:
        """Return the value that was given, None if this server did not encrypt it."""
        if self.parameter_type != "SecureString":
            return value
        sealed = base64.b64decode(value)[len(_BEGIN) :]
        try:
            return _KEY.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], str(self.name).encode()).decode()
        except InvalidTag:
            return None


def install_secure_strings() -> None:
    """Have moto make `SealedParameter` of each parameter that is put."""
    setattr(moto_models, "Parameter", SealedParameter)  # noqa: B010 mypy takes an assignment to a class for an error

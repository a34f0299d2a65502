"""SSM's SecureString: a secret is seen with decryption only."""

import base64
import uuid

import pytest

from tests.conftest import RunningLocalAws


def test_a_secret_is_seen_with_decryption_only(localaws: RunningLocalAws) -> None:
    ssm, folder = localaws.client("ssm"), f"/{uuid.uuid4().hex}"
    name = f"{folder}/password"
    ssm.put_parameter(Name=name, Value="open sesame", Type="SecureString")
    for with_decryption in (False, True):
        seen = {
            ssm.get_parameter(Name=name, WithDecryption=with_decryption)["Parameter"]["Value"],
            ssm.get_parameters(Names=[name], WithDecryption=with_decryption)["Parameters"][0]["Value"],
            ssm.get_parameters_by_path(Path=folder, WithDecryption=with_decryption)["Parameters"][0]["Value"],
            ssm.get_parameter_history(Name=name, WithDecryption=with_decryption)["Parameters"][0]["Value"],
        }
        if with_decryption:
            assert seen == {"open sesame"}
        else:
            (sealed,) = seen
            assert b"sesame" not in base64.b64decode(sealed) and "sesame" not in sealed and "kms:" not in sealed


@pytest.mark.parametrize("kind", ["String", "StringList"])
def test_other_parameters_are_as_they_were_put(localaws: RunningLocalAws, kind: str) -> None:
    ssm, name = localaws.client("ssm"), f"/{uuid.uuid4().hex}"
    ssm.put_parameter(Name=name, Value="a,b", Type=kind)
    assert ssm.get_parameter(Name=name)["Parameter"]["Value"] == "a,b"

"""User data is taken apart as cloud-init does it, and what is not emulated is named."""

import base64
import gzip
import json
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from localaws.ec2 import host_keys
from localaws.ec2.user_data import File, UserData, take_apart
from localaws.programs.path_rewriting import rewrite
from localaws.programs.power import NotUnderstood, Order, understand
from tests.localaws.ec2.machine_rooms import new_private_key, read_key


def cloud_config(**keys: object) -> bytes:
    return b"#cloud-config\n" + json.dumps(keys).encode()


@pytest.mark.parametrize("data", [b"", b"  \n"])
def test_no_user_data_asks_for_nothing(data: bytes) -> None:
    assert take_apart(data) == UserData()


def test_a_script_is_one_part() -> None:
    assert take_apart(b"#!/bin/bash\necho x\n").scripts == [("part-001", "#!/bin/bash\necho x\n")]


def test_gzipped_user_data_is_the_same() -> None:
    assert take_apart(gzip.compress(b"#!/bin/sh\n:\n")) == take_apart(b"#!/bin/sh\n:\n")
    assert "gzip" in take_apart(b"\x1f\x8bnonsense").notices[0]


def test_a_message_of_parts_runs_scripts_before_runcmd_and_the_later_config_wins() -> None:
    message = MIMEMultipart()
    for kind, text in (
        ("cloud-config", "#cloud-config\nruncmd: [first]\nbootcmd: [early]\n"),
        ("x-shellscript", "#!/bin/sh\none\n"),
        ("cloud-config", "#cloud-config\nruncmd: [second]\n"),
        ("x-shellscript", "#!/bin/sh\ntwo\n"),
        ("cloud-boothook", "#cloud-boothook\n"),
    ):
        message.attach(MIMEText(text, kind))
    found = take_apart(message.as_bytes())
    assert [name for name, _ in found.scripts] == ["part-002", "part-004", "runcmd"]
    assert found.scripts[2][1] == "#!/bin/sh\nsecond\n" and found.bootcmd == "#!/bin/sh\nearly\n"
    assert found.notices == ["user data part 5 (text/cloud-boothook) is not emulated and was not run"]


def test_files_have_their_content_whatever_its_encoding_and_their_permissions() -> None:
    packed = base64.b64encode(gzip.compress(b"packed")).decode()
    entries = [
        {"path": "/a", "content": "plain\n"},
        {"path": "/b", "content": packed, "encoding": "gz+b64", "permissions": "0755", "append": True},
        {"path": "/c", "permissions": 0o600},
    ]
    assert take_apart(cloud_config(write_files=entries)).files == [
        File("/a", b"plain\n", "0644", False),
        File("/b", b"packed", "0755", True),
        File("/c", b"", "600", False),
    ]


def test_lists_of_words_are_quoted_and_lines_are_not() -> None:
    found = take_apart(cloud_config(runcmd=[["echo", "a b", "$HOME"], "echo $HOME | cat"]))
    assert found.scripts == [("runcmd", "#!/bin/sh\necho 'a b' '$HOME'\necho $HOME | cat\n")]


@pytest.mark.parametrize(
    ("data", "notice"),
    [
        (b"#cloud-config\n{", "Failed loading yaml blob"),
        (b"#cloud-config\n- a\n", "cloud-config is a list, not a mapping"),
        (cloud_config(packages=["nginx"]), "'packages' is not emulated and was ignored"),
        (cloud_config(runcmd="echo"), "'runcmd': must be a list, not a str"),
        (cloud_config(write_files=[{"content": "x"}]), "an entry has no path"),
        (cloud_config(write_files=[{"path": "/x", "source": {}}]), "/x: ['source'] not emulated"),
        (cloud_config(write_files=[{"path": "/x", "permissions": "rw"}]), "'rw' are not octal"),
        (cloud_config(write_files=[{"path": "/x", "content": "!", "encoding": "gz"}]), "content is not gz"),
        (cloud_config(write_files=[{"path": "/x", "encoding": "rot13"}]), "'rot13' is not emulated"),
        (cloud_config(ssh_keys={"ed25519_certificate": "x"}), "ed25519_certificate is not emulated"),
        (b"#include\nhttp://127.0.0.1/\n", "'#include') is not emulated and was not run"),
        (b"## template: jinja\n", "'## template: jinja') is not emulated and was not run"),
    ],
)
def test_what_cannot_be_obeyed_is_named(data: bytes, notice: str) -> None:
    (said,) = take_apart(data).notices
    assert notice in said


def test_host_keys_are_read_in_either_form_and_others_refused() -> None:
    ours = new_private_key()
    key = host_keys.read(ours)
    assert (key.kind, key.public) == ("ed25519", f"ssh-ed25519 {read_key(ours).get_base64()}")
    assert key.fingerprint == read_key(ours).fingerprint
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    assert host_keys.read(rsa.generate_private_key(65537, 2048).private_bytes(*form).decode()).kind == "rsa"
    with pytest.raises(ValueError, match="emulated: ed25519, ecdsa, rsa"):
        host_keys.read(dsa.generate_private_key(1024).private_bytes(*form).decode())
    with pytest.raises(ValueError, match="a host key cannot be read"):
        host_keys.read("nonsense")


@pytest.mark.parametrize(
    ("command", "order"),
    [
        ("shutdown -h +5", Order("off", 5)),
        ("shutdown -h now", Order("off", 0)),
        ("shutdown --no-wall +10 going down", Order("off", 10)),
        ("shutdown", Order("off", 1)),
        ("shutdown -r 3", Order("reboot", 3)),
        ("shutdown -P now", Order("off", 0)),
        ("shutdown -c", Order("cancel", 1)),
        ("poweroff", Order("off", 0)),
        ("halt -f", Order("off", 0)),
        ("reboot", Order("reboot", 0)),
        ("systemctl poweroff", Order("off", 0)),
    ],
)
def test_commands_of_power_mean_what_they_mean(command: str, order: Order) -> None:
    name, *arguments = command.split()
    assert understand(name, arguments) == order


@pytest.mark.parametrize("command", ["shutdown 23:00", "shutdown -x", "systemctl restart ssh", "reboot --what"])
def test_commands_of_power_that_are_not_emulated_are_refused(command: str) -> None:
    name, *arguments = command.split()
    with pytest.raises(NotUnderstood):
        understand(name, arguments)


def test_without_a_disk_of_its_own_an_instances_paths_are_rewritten_and_only_those() -> None:
    text = (
        "cd /home/ubuntu/x && /opt/pytorch/bin/python a.py > /tmp/log; "
        "ls /home/ubuntus /x/tmp /tmpfs ~/tmp; /sbin/reboot"
    )
    assert rewrite(text, Path("/i")) == (
        "cd /i/home/ubuntu/x && /i/opt/pytorch/bin/python a.py > /i/tmp/log; "
        "ls /home/ubuntus /x/tmp /tmpfs ~/tmp; /i/run/localaws/shims/reboot"
    )

"""The MFA code of a profile is asked once: other sessions and other processes find its credentials on disk."""

import json
import stat
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs

from tasks.run.assumed_credentials import CACHE
from tests.conftest import ROOT
from tests.http_server import serving

ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIATEMPORARY</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
CONFIG = """[profile mfa]
role_arn = arn:aws:iam::123456789012:role/r
mfa_serial = arn:aws:iam::123456789012:mfa/person
source_profile = long
region = us-east-1
[profile long]
aws_access_key_id = AKIALONG
aws_secret_access_key = y
"""
IN_A_FLOW = "from tasks.run.aws import _core_session; print(_core_session().get_credentials().access_key)"
IN_LOCUST = (
    "import botocore.session; from tasks.run.assumed_credentials import keep_assumed_credentials; "
    "print(keep_assumed_credentials(botocore.session.get_session()).get_credentials().access_key)"
)


def test_a_code_that_was_given_counts_for_every_process_until_it_expires(tmp_path: Path) -> None:
    asked: list[str] = []

    class Sts(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            asked.append(body["TokenCode"][0])
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.end_headers()
            self.wfile.write(ANSWER.encode())

    (tmp_path / "config").write_text(CONFIG)
    with serving(Sts) as url:
        env = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_PROFILE": "mfa"}
        env |= {"AWS_ENDPOINT_URL_STS": url, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        assert ask(IN_A_FLOW, env, code="123456\n") == "ASIATEMPORARY"
        assert ask(IN_A_FLOW, env) == "ASIATEMPORARY"
        assert ask(IN_LOCUST, env) == "ASIATEMPORARY"
    assert asked == ["123456"]
    (kept,) = (tmp_path / CACHE).glob("*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["Credentials"]["AccessKeyId"] == "ASIATEMPORARY"


def ask(program: str, env: dict[str, str], code: str = "") -> str:
    """Run a program without a terminal, so that the question for a code reads standard input; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=env, input=code, capture_output=True, text=True, timeout=120, check=False, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].rpartition(" ")[2]


def test_the_locustfile_takes_its_credentials_from_there() -> None:
    text = (ROOT / "loadtest" / "locustfile.py").read_text()
    assert text.count("get_session()") == text.count("keep_assumed_credentials(botocore.session.get_session())") == 1

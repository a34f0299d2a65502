"""The operator is an IAM user from the start, with the policies of a file and a key that stays the home's."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, running_localaws
from tests.keys import OPERATOR, POLICIES, give_keys
from tests.localaws.callers import Somebody, refusal


def test_the_operator_may_what_its_policies_allow_and_no_more(tmp_path: Path) -> None:
    policies = give_keys(tmp_path)
    with running_localaws("--operator", str(policies)) as server:
        keys = {"aws_access_key_id": OPERATOR.access_key_id, "aws_secret_access_key": OPERATOR.secret_access_key}
        operator = Somebody("arn:aws:iam::123456789012:user/operator", server.url, keys)
        assert operator.client("sts").get_caller_identity()["Arn"] == operator.arn
        operator.client("s3").create_bucket(Bucket="kennel-mine")
        assert refusal(operator.client("s3").create_bucket, Bucket="somebodys")[0] == "AccessDenied"
        assert refusal(operator.client("iam").create_user, UserName="another")[0] == "AccessDenied"
        attached = server.client("iam").list_attached_user_policies(UserName="operator")["AttachedPolicies"]
        assert {each["PolicyName"] for each in attached} == set(POLICIES) - {"kennel-boundary"}


def test_what_the_operator_asks_first_is_answered_as_whatever_it_asks_later(tmp_path: Path) -> None:
    with running_localaws("--operator", str(give_keys(tmp_path))) as server:
        keys = {"aws_access_key_id": OPERATOR.access_key_id, "aws_secret_access_key": OPERATOR.secret_access_key}
        ssm = Somebody("", server.url, keys).client("ssm")  # its policies ask for tags, before SSM was ever used
        found = ssm.get_parameters_by_path(Path="/aws/service/deeplearning/ami/x86_64", Recursive=True)["Parameters"]
        assert len(found) > 3


def test_a_file_that_holds_no_policies_is_refused_by_name(tmp_path: Path) -> None:
    for number, wrong in enumerate((["x"], {"p": {"Statement": 3}})):
        file = tmp_path / f"wrong-{number}.json"
        file.write_text(json.dumps(wrong))
        command = [sys.executable, "-m", "localaws", "--home", str(tmp_path / f"home-{number}"), "--port", "0"]
        done = subprocess.run([*command, "--operator", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and str(file) in done.stderr, done.stderr

"""What `docs/localaws.md` tells to do with other programs works with the environment that localaws prints."""

import re
import subprocess
import sys

from tests.conftest import ROOT, RunningLocalAws


def test_the_recipe_for_the_sagemaker_sdk_makes_a_default_bucket(localaws: RunningLocalAws) -> None:
    (recipe,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/localaws.md").read_text(), re.DOTALL)
    command = [sys.executable, "-c", recipe]
    done = subprocess.run(command, env=dict(localaws.environment), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    bucket = done.stdout.strip().splitlines()[-1]
    assert bucket == "sagemaker-us-east-1-123456789012"
    assert bucket in [each["Name"] for each in localaws.client("s3").list_buckets()["Buckets"]]

#!/bin/bash
# Starts a host of a staging job in AWS's PyTorch image: unpacks the code beside this file and installs what it needs.
set -e
cd "$(dirname "$0")"
tar -xzf code.tar.gz
python3 - <<'END' || python3 -m pip install --quiet --require-hashes -r requirements.txt
import re, sys
from importlib import metadata

installed = {re.sub("[-_.]+", "-", str(each.name)).lower(): each.version for each in metadata.distributions()}
wanted = re.findall(r"^([a-z0-9-]+)==([^ ;]+)", open("requirements.txt").read(), re.MULTILINE)
sys.exit(any(installed.get(name) != version for name, version in wanted))
END
exec python3 -m tasks.processing.host

#!/bin/bash
# Starts a host of a staging job in AWS's PyTorch image: unpacks the code beside this file and installs what it needs.
set -e
cd "$(dirname "$0")"
tar -xzf code.tar.gz
python3 - <<'END' || python3 -m pip install --quiet -r tasks/processing/requirements.txt
import importlib.util, sys
names = "httpx", "pi_heif", "psutil", "pydantic_settings", "simplejpeg", "zstandard"
sys.exit(any(importlib.util.find_spec(name) is None for name in names))
END
exec python3 -m tasks.processing.host

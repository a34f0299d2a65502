#!/bin/bash
# Starts a host of a staging job in AWS's PyTorch image: unpacks the code beside this file and installs what it needs.
set -e
cd "$(dirname "$0")"
tar -xzf code.tar.gz
python3 -c "import httpx, pi_heif, psutil, pydantic_settings, simplejpeg, zstandard" 2>/dev/null ||
    python3 -m pip install --quiet -r tasks/processing/requirements.txt
exec python3 -m tasks.processing.host

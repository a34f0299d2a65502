"""Runs an entry point as AWS's training toolkit does, below SAGEMAKER_BASE_DIR: `train.py CODE_FOLDER ENTRY_POINT`."""

import sys

from sagemaker_training import entry_point, environment  # type: ignore[import-not-found]

job = environment.Environment()
entry_point.run(sys.argv[1], sys.argv[2], job.to_cmd_args(), job.to_env_vars(), capture_error=True)

"""Runs the job below SAGEMAKER_BASE_DIR as AWS's PyTorch image does, failure file and exit status included."""

from sagemaker_training import entry_point, environment, errors, files  # type: ignore[import-not-found]

job = environment.Environment()
try:
    entry_point.run(job.module_dir, job.user_entry_point, job.to_cmd_args(), job.to_env_vars(), capture_error=True)
except errors.ClientError as error:
    files.write_failure_file(str(error))
    raise SystemExit(1) from error

"""How a job ends without a model: one exception a cause, and SageMaker's failure file."""

from pathlib import Path

_FAILURE_LIMIT_CHARACTERS = 1024  # SageMaker cuts FailureReason there


class TrainingFailure(Exception):
    """No model can come of this job; the message is written for the person who started it."""


class Interrupted(Exception):
    """SIGTERM came (spot interruption, StopTrainingJob); the state is in the checkpoint folder."""


def write_failure(message: str, output_dir: Path | None) -> None:
    """Write SageMaker's failure file, whose text becomes FailureReason; the first failure of a host stays."""
    if output_dir is None:
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    try:
        with (output_dir / "failure").open("x", encoding="utf-8") as file:
            file.write(message[:_FAILURE_LIMIT_CHARACTERS])
    except FileExistsError:
        return


def clear_failure(output_dir: Path | None) -> None:
    """Remove the failure file of an earlier run in the same folder."""
    if output_dir is not None:
        (output_dir / "failure").unlink(missing_ok=True)

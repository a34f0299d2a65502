"""The exceptions that end a training job without a model, and SageMaker's failure file."""

from pathlib import Path

_FAILURE_LIMIT_CHARACTERS = 1024  # SageMaker truncates FailureReason to this length


class TrainingFailure(Exception):
    """The job cannot produce a model; the message tells the user why."""


class Interrupted(Exception):
    """The job received SIGTERM (a spot interruption or StopTrainingJob); its state is in the checkpoint folder."""


def write_failure(message: str, output_dir: Path | None) -> None:
    """Write SageMaker's failure file, whose text becomes FailureReason; do not replace an earlier failure's file."""
    if output_dir is None:
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    try:
        with (output_dir / "failure").open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(message[:_FAILURE_LIMIT_CHARACTERS])
    except FileExistsError:
        return


def clear_failure(output_dir: Path | None) -> None:
    """Remove the failure file that an earlier run left in the same folder."""
    if output_dir is not None:
        (output_dir / "failure").unlink(missing_ok=True)

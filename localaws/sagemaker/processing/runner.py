"""Runs a processing job from its start to its end: hosts, inputs, the run, outputs, what the containers say at its end.

What it shares with training jobs is in `localaws/sagemaker/jobs/runner.py`.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from localaws.core import Core
from localaws.errors import AwsError
from localaws.sagemaker.jobs.hosts import Host, stop_hosts
from localaws.sagemaker.jobs.isolation import Isolation
from localaws.sagemaker.jobs.network import Network
from localaws.sagemaker.jobs.runner import GANG_GRACE_SECONDS, End, JobRunner, Kind, Outcome
from localaws.sagemaker.jobs.sync import FolderSync, Repeated, UploadError
from localaws.sagemaker.processing.configuration import configuration
from localaws.sagemaker.processing.record import MOST_CHARACTERS, ProcessingJobRecord

KIND = Kind(
    name="processing",
    log_group="/aws/sagemaker/ProcessingJobs",
    home="processing-jobs",
    folders=("config", "processing", "output"),
    staged=("processing/input/code", "processing/input/entrypoint"),
)
FAILED = "AlgorithmError: See job logs for more information"
"""AWS's sentence, as the tests of its Spark container expect it (sagemaker-spark-container, `test_spark.py`)."""
NOT_TEXT = "ClientError: Please make sure the content of /opt/ml/output/message is encoded in UTF-8."


class ProcessingRunner(JobRunner[ProcessingJobRecord]):
    """Runs one job."""

    def __init__(self, core: Core, record: ProcessingJobRecord, isolation: Isolation) -> None:
        super().__init__(core, record, record.request, KIND, isolation)
        self._request = record.request

    def _attempts(self) -> Outcome:
        return self._attempt(1)

    def _carry_out(self, network: Network) -> Outcome:
        outputs = self._make_outputs()
        self._prepare_hosts(network)
        if self._is_stopping.is_set():
            return Outcome(End.STOPPED)
        self.record.begin()
        outcome = self._process(network, [sync for sync, is_continuous in outputs if is_continuous])
        if outcome.end is End.COMPLETED:
            self._upload([sync for sync, is_continuous in outputs if not is_continuous])
        return self._with_message(outcome)

    def _make_outputs(self) -> list[tuple[FolderSync, bool]]:
        """Make the folders of the outputs; return what uploads each, and whether it does so all the time."""
        made = []
        for output in self._request.outputs:
            folders = [each.host.folder(output.local_path) for each in self._running]
            for folder in folders:
                folder.path.mkdir(parents=True, exist_ok=True)
            made.append((FolderSync(output.store, folders, self._sealed), output.is_continuous))
        return made

    def _process(self, network: Network, continuous: Sequence[FolderSync]) -> Outcome:
        """Run the hosts; what is uploaded all the time is complete when they have ended, in whatever way."""
        uploading = Repeated(lambda: self._upload_settled(continuous))
        try:
            return self._run_hosts(network, deadline=time.monotonic() + self._request.max_runtime_seconds)
        finally:
            uploading.end()
            if not self._is_closing.is_set():
                self._upload(continuous)

    def _upload_settled(self, outputs: Sequence[FolderSync]) -> None:
        for each in outputs:
            with suppress(AwsError, OSError):  # told by the last upload, which tries again
                each.upload(final=False)

    def _upload(self, outputs: Sequence[FolderSync]) -> None:
        for each in outputs:
            try:
                each.upload(final=True)
            except (AwsError, OSError) as error:
                raise UploadError(f"Data upload failed: {each.store.uri}: {error}") from error

    def _with_message(self, outcome: Outcome) -> Outcome:
        """Keep what the hosts wrote to /opt/ml/output/message, of each the first 1 KB; it fails a job if it is no text.

        Source: https://docs.aws.amazon.com/sagemaker/latest/dg/byoc-metadata.html
        """
        try:
            texts = [_message(each.host) for each in self._running]
        except UnicodeDecodeError:
            return Outcome(End.FAILED, NOT_TEXT)
        self.record.keep_message("".join(texts))
        return outcome

    def _configuration(self, host: Host, network: Network) -> Mapping[str, object]:
        return configuration(self._request, self.record.arn, host.name, network.interface)

    def _variables(self) -> Mapping[str, str]:
        return {}

    def _failure(self) -> str:
        stop_hosts(self._running, GANG_GRACE_SECONDS)
        return FAILED

    def _finish(self, outcome: Outcome) -> None:
        self._core.logs.flush()
        is_stopped = outcome.end in (End.STOPPED, End.MAX_RUNTIME) or (
            outcome.end is End.COMPLETED and self._is_stopping.is_set()
        )
        self.record.finish("Stopped" if is_stopped else outcome.end.value, failure=outcome.failure)


def _message(host: Host) -> str:
    """Return the first 1 KB of a host's message; a character that is cut there is left out.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    left = host.left("message")
    content = left[1] if left else b""
    try:
        return content[:MOST_CHARACTERS].decode()
    except UnicodeDecodeError as error:
        if len(content) > MOST_CHARACTERS and error.end == MOST_CHARACTERS:
            return content[: error.start].decode()
        raise

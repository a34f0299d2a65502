"""The services' records of the server's account and region, as the console reads them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from localaws.console.masking import whole_words
from localaws.core import Core
from localaws.partition import partition

if TYPE_CHECKING:
    from localaws.autoscaling.engine import Engine
    from localaws.ec2.instance import ExecutingInstance
    from localaws.functions.service import FunctionService
    from localaws.metrics import Metrics
    from localaws.permissions.authority import Authority
    from localaws.sagemaker.endpoints.hosting import EndpointHosting

LOG_LINES, LINE_CHARACTERS = 200, 4_000


class Account:
    """Reads what is there; it prepares no service and changes nothing. Used in threads."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._place = core.settings.account_id, core.settings.region

    @property
    def metrics(self) -> "Metrics":
        """CloudWatch's data points."""
        return self.core.metrics

    @property
    def authority(self) -> "Authority":
        """IAM at work, with its record."""
        return self.core.authority

    @property
    def sagemaker(self) -> Any:
        """The backend that has jobs, endpoints and notebook instances."""
        from moto.sagemaker.models import sagemaker_backends

        return self._of(sagemaker_backends)

    @property
    def hosting(self) -> "EndpointHosting":
        """What endpoints run."""
        from localaws.sagemaker.endpoints.models import Endpoints

        return Endpoints.hosting

    @property
    def scaling(self) -> "Engine | None":
        """Application Auto Scaling."""
        from localaws.sagemaker.endpoints.models import Endpoints

        engine: Any = Endpoints.autoscaling
        return engine  # type: ignore[no-any-return]

    @property
    def functions(self) -> dict[str, Any]:
        """The entries of moto's store, by function: `latest` and `versions`."""
        store = self._lambda._lambdas
        return dict(store._functions) if store else {}

    def aliases(self, function_arn: str) -> dict[str, Any]:
        """Return a function's aliases by name."""
        store = self._lambda._lambdas
        return dict(store._aliases.get(function_arn, {})) if store else {}

    @property
    def function_service(self) -> "FunctionService":
        """What runs functions."""
        from localaws.functions.backend import ExecutingLambda

        return ExecutingLambda.service

    @property
    def alarms(self) -> list[Any]:
        """CloudWatch's alarms."""
        from moto.cloudwatch.models import cloudwatch_backends

        return list(self._of(cloudwatch_backends).alarms.values())

    @property
    def buckets(self) -> dict[str, Any]:
        """S3's buckets by name."""
        from moto.s3.models import s3_backends

        return dict(self._of(s3_backends, partition()).buckets)

    @property
    def iam(self) -> Any:
        """The backend that has roles and users."""
        from moto.iam.models import iam_backends

        return self._of(iam_backends, partition())

    @property
    def instances(self) -> "list[ExecutingInstance]":
        """EC2's instances, the newest first; none before EC2 was first asked, which prepares it."""
        if not self.core.is_prepared("ec2"):
            return []
        from moto.ec2.models import ec2_backends

        found = self._of(ec2_backends).instances
        return list(found())[::-1] if found else []

    def log_lines(self, group: str, *, prefix: str = "", most: int = LOG_LINES) -> list[tuple[float, str, str]]:
        """Return the newest lines of a log group's streams: Unix time, stream, line; the oldest of them first."""
        from moto.logs.models import logs_backends

        found = self._of(logs_backends).groups.get(group)
        streams = [each for each in (list(found.streams.values()) if found else []) if _is_of(each, prefix)]
        newest = [(event, each) for each in streams for event in each.events[-most:]]
        newest.sort(key=lambda pair: (pair[0].timestamp, pair[0].event_id))
        shown = [(event.timestamp / 1e3, each.log_stream_name, event.message) for event, each in newest[-most:]]
        return [(at, stream, whole_words(line, LINE_CHARACTERS)) for at, stream, line in shown]

    def secrets(self) -> Iterator[str]:
        """Yield the secrets of all access keys that IAM and STS issued, and the newest sessions' tokens."""
        from moto.sts.models import sts_backends

        sessions = list(self._of(sts_backends, partition()).assumed_roles)
        yield from (each.secret_access_key for each in [*self.iam.access_keys.values(), *sessions])
        yield from (each.session_token for each in sessions[-200:])  # others are known by how they begin

    @property
    def _lambda(self) -> Any:
        from moto.awslambda.models import lambda_backends

        return self._of(lambda_backends)

    def _of(self, backends: Any, region: str | None = None) -> Any:
        """Return the backend of the account, and of its region if no other is named; asking moto for it makes one."""
        account_id, own = self._place
        return dict.get(dict.get(backends, account_id, {}), region or own, _NOT_CALLED)


class _NotCalled:
    """Stands for a backend that nobody has called yet: whatever it is asked for is empty."""

    def __getattr__(self, _: str) -> dict[str, Any]:
        return {}


_NOT_CALLED = _NotCalled()


def _is_of(stream: Any, prefix: str) -> bool:
    return bool(stream.log_stream_name.startswith(prefix))

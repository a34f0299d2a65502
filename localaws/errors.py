"""What localaws raises.

```
LocalAwsError
├── AwsError            an error that a client sees in AWS's shape: code, message, HTTP status
│   ├── NoSuchBucket
│   ├── NoSuchKey
│   └── NoSuchRole
├── NotLoopback         asked to listen where others could reach it
├── NotItsHome          the home has folders of localaws's names that it did not make, or no files in its files' place
├── UnknownProcessor    this machine's processor has system calls that cannot be kept from users' programs
├── PortTaken           another program listens on the port
├── AlreadyRunning      a server with the same home is up
├── NotRunning          a command needs a server and there is none
├── StartFailed         the background server did not become healthy
└── StopFailed          a process outlived SIGKILL, or the server its deadline
```
"""

from collections.abc import Mapping


class LocalAwsError(Exception):
    """Anything localaws refuses or fails to do; the message says what, why and what to do."""


class AwsError(LocalAwsError):
    """An error in AWS's shape: `code` as in botocore's `Error.Code`, `status` is the HTTP status.

    `details` are further elements, which S3's errors have.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, details: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.details = dict(details or {})


class NoSuchBucket(AwsError):
    """The bucket does not exist."""

    def __init__(self, bucket: str) -> None:
        super().__init__("NoSuchBucket", f"The specified bucket does not exist: {bucket}", status=404)


class NoSuchKey(AwsError):
    """The bucket exists, the object does not."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__("NoSuchKey", f"The specified key does not exist: s3://{bucket}/{key}", status=404)


class NoSuchRole(AwsError):
    """The role to be assumed does not exist, or does not trust who would assume it."""

    def __init__(self, role_arn: str) -> None:
        super().__init__("NoSuchEntity", f"The role {role_arn} cannot be found.", status=404)


class NotLoopback(LocalAwsError):
    """The address asked for is not a loopback address."""


class NotItsHome(LocalAwsError):
    """The home was not made by localaws: folders in it would be emptied, or files of it are none."""


class UnknownProcessor(LocalAwsError):
    """It is not known which system calls of this machine's processor to keep from users' programs."""


class PortTaken(LocalAwsError):
    """Another program listens on the port."""


class AlreadyRunning(LocalAwsError):
    """A server with the same home is up."""


class NotRunning(LocalAwsError):
    """No server runs with this home."""


class StartFailed(LocalAwsError):
    """The background server did not become healthy in time; the message ends with its log."""


class StopFailed(LocalAwsError):
    """A process could not be ended."""

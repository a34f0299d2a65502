"""Names the packages that a load generator needs on another machine, with the versions and hashes of the lock."""

from __future__ import annotations

from tasks.run.locked_packages import locked_requirements

ROOTS = (
    *("locust", "gevent", "geventhttpclient", "hdrhistogram", "flask", "botocore", "pydantic", "pydantic-settings"),
    *("psutil", "setuptools"),
)
"""What loadtest/ and the files of tasks/run/ import; a test compares it with what they load."""


def worker_requirements() -> str:
    """Return the content of a requirements file for `pip install --require-hashes`.

    Raises:
        SettingsRefused: the lock is not there, or does not name a package that is needed.
    """
    return locked_requirements(ROOTS)

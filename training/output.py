"""Makes everything that a training process prints valid UTF-8, also what libraries and child processes print.

SageMaker's launcher (`log_subprocess_output` of the SDK's container drivers) decodes the output strictly, so a job ends
at a byte that is not UTF-8. The bytes go through a process of their own, which also passes on the last ones of a crash.
"""

import codecs
import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

END_SECONDS = 5.0  # a child that still runs may hold the pipe open
PIECE_BYTES = 1 << 16


@contextlib.contextmanager
def utf8_output() -> Iterator[None]:
    r"""Pass descriptors 1 and 2 on as UTF-8 inside the block; each byte that is not becomes `\xff`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    is_one_stream = os.path.sameopenfile(1, 2)
    redirected = [_Redirected([1, 2])] if is_one_stream else [_Redirected([1]), _Redirected([2])]
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for each in redirected:
            each.end()


class _Redirected:
    """Descriptors that lead to a process which writes valid UTF-8 to where they led before."""

    def __init__(self, descriptors: list[int]) -> None:
        self._before = {descriptor: os.dup(descriptor) for descriptor in descriptors}
        read_end, write_end = os.pipe()
        command = [sys.executable, "-I", "-S", __file__]
        self._process = subprocess.Popen(command, stdin=read_end, stdout=descriptors[0])
        os.close(read_end)
        for descriptor in descriptors:
            os.dup2(write_end, descriptor)
        os.close(write_end)

    def end(self) -> None:
        """Wait until everything is passed on, and undo the redirection."""
        for descriptor, before in self._before.items():
            os.dup2(before, descriptor)
            os.close(before)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)


def pass_on() -> None:
    """Copy descriptor 0 to descriptor 1 as valid UTF-8 until it ends; signals to stop are for the training only."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    while piece := os.read(0, PIECE_BYTES):
        _write(decoder.decode(piece).encode())
    _write(decoder.decode(b"", final=True).encode())


def _write(content: bytes) -> None:
    while content:
        content = content[os.write(1, content) :]


if __name__ == "__main__":
    pass_on()

"""The output of a function's process: read from where the last reading ended, whatever the process does to its file."""

import os
from pathlib import Path

from localaws.functions.process_usage import MOST_BYTES, Output


def test_output_that_the_program_cuts_off_or_stretches_is_read_in_bounds(tmp_path: Path) -> None:
    output = Output(tmp_path / "output")
    output.path.write_bytes(b"one\ntwo\n")
    assert output.new_events() == ["one", "two"]
    os.truncate(output.path, 0)
    assert output.new_events() == []
    output.path.write_bytes(b"three\n")
    assert output.new_events() == ["three"]
    os.truncate(output.path, MOST_BYTES + 100)
    assert sum(map(len, output.new_events())) <= MOST_BYTES
    output.close()

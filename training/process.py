"""Runs a job's work as a process: SIGTERM asks it to end, and what ends it becomes its exit status and failure file.

The exit status is 0 with a result, 1 with a failure file and no result, and 143 after SIGTERM.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from training.config import DEFAULT_OUTPUT_DIR
from training.failures import Interrupted, TrainingFailure, clear_failure, write_failure

EXIT_FAILED, EXIT_INTERRUPTED = 1, 143
Parsed = TypeVar("Parsed")


def run_process(
    arguments: Sequence[str] | None,
    parse: Callable[[Sequence[str]], Parsed],
    work: Callable[[Parsed, threading.Event], None],
    output_of: Callable[[Parsed], Path | None],
) -> int:
    """Parse the arguments (None: the process's own), do the work and return the exit status (0, 1 or 143).

    `output_of` names the folder of the failure file; until the arguments are read it is SageMaker's.
    """
    interrupted = threading.Event()
    previous_handler = signal.signal(signal.SIGTERM, lambda *_: interrupted.set())
    output: Path | None = Path(os.environ.get("SM_OUTPUT_DIR", DEFAULT_OUTPUT_DIR))
    try:
        config = parse(sys.argv[1:] if arguments is None else arguments)
        output = output_of(config)
        clear_failure(output)
        work(config, interrupted)
    except Interrupted as interruption:
        print(f"INTERRUPTED: {interruption}", flush=True)
        return EXIT_INTERRUPTED
    except TrainingFailure as failure:
        print(f"FAILED: {failure}", file=sys.stderr, flush=True)
        write_failure(str(failure), output)
        return EXIT_FAILED
    except Exception as error:
        traceback.print_exc()
        write_failure(f"{type(error).__name__}: {error}", output)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
    return 0

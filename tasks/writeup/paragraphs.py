"""The paragraphs of the writeup in their order: what was chosen, why, and what showed that it is right.

A paragraph whose record is missing says what was not done; a claim is made only where the records bear it out.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.writeup import changed, served, trained
from tasks.writeup.prose import Paragraph
from tasks.writeup.sources import Sources


def paragraphs(runs: Sequence[Sources]) -> list[Paragraph]:
    """Return the paragraphs of a writeup of the first run; the others are compared with it.

    Raises:
        StageFailed: a figure cannot be cited.
    """
    run = runs[0]
    before = (trained.result, trained.notebook, trained.training)
    after = (trained.ec2, served.function, served.security, served.concurrency, served.autoscaling)
    last = (served.load, changed.retraining, served.cost)
    return [*(make(run) for make in before), trained.instances(runs), *(make(run) for make in (*after, *last))]

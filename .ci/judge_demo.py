"""Refuses a demo whose verdicts do not speak for it: none may fail, and few may be left open.

python .ci/judge_demo.py RUNS: the folder of runs, of which the demo's is the only one.
"""

import json
import sys
from collections import Counter
from pathlib import Path

MOST_OPEN = 4


def main(runs: Path) -> int:
    """Return 0 when the demo's verdicts are good enough, 1 when not, with each verdict that did not pass."""
    record = next(runs.glob("*/scaling.json"), None)
    if record is None:
        print("the demo left no verdicts: its ladder was inconclusive, see its log above")
        return 1
    verdicts = json.loads(record.read_text())["verdicts"]
    states = Counter(verdict["state"] for verdict in verdicts)
    for verdict in verdicts:
        if verdict["state"] != "PASS":
            print(f"{verdict['state']} {verdict['name']}: {verdict['observed']} {verdict['unit']}; {verdict['why']}")
    print(f"the demo's verdicts: {dict(states)}")
    return 0 if states["FAIL"] == 0 and states["PASS"] >= len(verdicts) - MOST_OPEN else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

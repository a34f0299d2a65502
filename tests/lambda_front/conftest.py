"""The Lambda's folder is its zip's root: its modules are imported as they are on Lambda."""

import sys
from pathlib import Path

CLASSIFY = Path(__file__).resolve().parents[2] / "lambda" / "classify"
sys.path.insert(0, str(CLASSIFY))

"""Let tests import the Lambda's modules as Lambda does: the function's folder is the root of its zip."""

import sys
from pathlib import Path

CLASSIFY = Path(__file__).resolve().parents[2] / "lambda" / "classify"
sys.path.insert(0, str(CLASSIFY))

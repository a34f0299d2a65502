"""Runs one of the programs of this folder by its name."""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0:1] = []  # this folder: its modules are known by their full names
    sys.path.append(str(Path(__file__).parents[2]))
    sys.exit(importlib.import_module(f"localaws.programs.{sys.argv[1]}").main(sys.argv[2:]))

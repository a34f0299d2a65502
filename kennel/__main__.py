"""Runs the command as `python -m kennel`, for environments whose scripts are not on the path."""

from kennel.cli import main

main()

"""Runs the command as `python -m kennel`, for environments whose scripts are not on the path."""

from kennel_start import main

main()

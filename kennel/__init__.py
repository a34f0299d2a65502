"""The `kennel` command: parses arguments, starts the local services, runs the flows and prints what came of it."""

__version__ = "0.1.0"

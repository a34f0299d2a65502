"""One module a command: what `kennel/cli.py` calls after it has read the arguments."""

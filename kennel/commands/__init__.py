"""The commands, one module each, which `kennel/cli.py` calls after it has parsed the arguments."""

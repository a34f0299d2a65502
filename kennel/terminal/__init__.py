"""Writes to the terminal: progress as a live view or as plain lines, tables, errors, and the log of the run."""

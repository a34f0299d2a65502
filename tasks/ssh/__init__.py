"""Commands and files over SSH: pinned host keys, logins, waiting for a machine, transfers that arrive whole.

May import `run`.
"""

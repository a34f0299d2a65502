"""Looks at the account and this machine before a run: what is missing, and the command or the setting that cures it.

Nothing here changes anything. This room may import `run`, `account` and `ec2`.
"""

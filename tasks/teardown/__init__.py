"""Removes everything that runs created, found by their ledgers and by tags, in the order that AWS requires.

May import `run`, `account`, `ec2`, `notebook`, `sagemaker` and `serving`.
"""

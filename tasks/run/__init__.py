"""The foundation of every other room: errors, settings, names, records, ledger, waiting, progress, clock, AWS clients.

This room imports no other room of tasks. `aws.py` is the only module of tasks that builds boto3 clients.
"""

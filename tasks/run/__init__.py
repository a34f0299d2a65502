"""What every other room uses: errors, settings, names, records, ledger, waiting, progress, clocks and AWS clients.

Imports no other room of tasks. `aws.py` is the only module of tasks that builds boto3 clients.
"""

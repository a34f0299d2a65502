"""An account's quotas: `account.py` knows the values and refuses what is beyond, `service.py` is Service Quotas.

The services ask `core.quotas`.
"""

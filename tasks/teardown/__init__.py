"""Everything of a run removed, by ledger and by tags, in the order that AWS needs.

May import `run`, `account`, `ec2`, `notebook`, `sagemaker` and `serving`.
"""

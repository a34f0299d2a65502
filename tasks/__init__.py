"""What flows are made of: one module per concern of AWS or of the run.

The work is plain, typed functions; a Prefect task is a thin wrapper on one of them. The only code that builds AWS
clients is `tasks.run.aws`; the only code that decides which AWS is meant is `tasks.run.settings`.
"""

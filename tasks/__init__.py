"""The work that flows call, in one folder for each concern of AWS or of a run.

The work is plain, typed functions; a Prefect task is a thin wrapper around one of them. Only `tasks.run.aws` builds AWS
clients, and only `tasks.run.settings` decides whether a run uses real AWS or the embedded one.
"""

"""Reports a run: its summary, table rows and JSON, the Markdown report, and the comparison of the two trainings.

May import `run`, `account`, `data`, `load`, `sagemaker`, `serving` and `verdicts`.
"""

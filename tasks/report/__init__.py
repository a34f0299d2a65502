"""What a run came to: the summary, its rows and JSON, the Markdown report, the comparison of the two trainings.

May import `run`, `account`, `data`, `load`, `sagemaker`, `serving` and `verdicts`.
"""

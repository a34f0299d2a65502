"""Makes the page of a run, `runs/<id>/report.html`: one file that a person opens, without a server or a network.

This room may import `run`, `evaluation`, `evidence`, `report`, `scaling` and `verdicts`.
"""

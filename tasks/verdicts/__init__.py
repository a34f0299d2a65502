"""A checked load test: run the profile, observe it, judge each prediction of the scaling plan, report and draw it.

May import `run`, `scaling`, `serving` and `load`.
"""

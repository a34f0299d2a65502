"""Runs a checked load test: sends the profile, observes it, judges each prediction of the plan, reports and plots it.

May import `run`, `scaling`, `serving` and `load`.
"""

"""Count for ourselves what a model says of the test split: classes, confusions, calibration, and the worst mistakes.

This room may import `run`, `account` and `model`.
"""

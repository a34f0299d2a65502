"""Manage the SageMaker notebook instance of a run: its role, its lifecycle configuration, and its stop when idle.

This room may import `run` and `account`.
"""

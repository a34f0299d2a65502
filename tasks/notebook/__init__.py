"""A SageMaker notebook instance of a run: its role, its lifecycle configuration, the script that stops it when idle.

May import `run` and `account`.
"""

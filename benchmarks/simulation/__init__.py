"""Discrete simulations of queues, leases and target tracking, against which the formulas of tasks/scaling are tested.

`benchmarks/at_scale.py` and tests use them; nothing that runs in production imports them.
"""

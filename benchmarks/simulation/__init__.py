"""Discrete simulations of queues, leases and target tracking, which the formulas of tasks/scaling are held against.

Used by `benchmarks/at_scale.py` and by tests; nothing that runs in production imports this room.
"""

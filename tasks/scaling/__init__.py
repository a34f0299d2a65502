"""The arithmetic of a scaling plan: traffic, queueing, sizing, choices, prices. No AWS call, no clock, no file.

May import `run` and `account`.
"""

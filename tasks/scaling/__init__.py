"""Computes scaling plans: traffic, queueing, sizing, choices and prices. It uses no AWS call, no clock and no file.

May import `run` and `account`.
"""

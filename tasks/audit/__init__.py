"""Look at an AWS account without changing it, and report what is too open, unused or left behind.

This room may import `run` and `account`.
"""

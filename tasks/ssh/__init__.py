"""Run commands and transfer files over SSH, with pinned host keys, and wait until a new machine accepts a login.

This room may import `run`.
"""

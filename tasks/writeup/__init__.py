"""Writes the writeup of a run: one paragraph an answer, in which every figure names the file and key it comes from.

This room may import `run`, `page`, `report` and `scaling`.
"""

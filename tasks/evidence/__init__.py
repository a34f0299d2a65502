"""Keeps what a run looked like: screens of the embedded AWS's console, and what AWS answers about what the run made.

This room may import `run`, `account` and `serving`.
"""

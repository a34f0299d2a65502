"""Inspect a source before any money is spent: classes, quality, labels, expected accuracy, time and price; no AWS call.

This room may import `run`, `account`, `data`, `model` and `page`.
"""

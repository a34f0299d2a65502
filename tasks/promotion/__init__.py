"""Puts a registered model onto a live endpoint step by step, watched by alarms that take it back."""

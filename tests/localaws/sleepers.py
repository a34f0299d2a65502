"""Processes that a test's programs start and that can be told from all others: each sleeps so many seconds."""

import random

import psutil

DAEMON = """
import os, subprocess
def daemon(seconds):
    subprocess.run(["sh", "-c", 'setsid env -i sleep "$1" >/dev/null 2>&1 &', "-", str(seconds)], check=True)
"""
"""Source for a handler: `daemon` leaves a process without parent, session, group or variables of the handler's."""


def names(count: int) -> list[int]:
    """Return numbers that no other sleeper on this machine was given."""
    return [random.randrange(10**6, 10**9) for _ in range(count)]


def sleepers(*seconds: int) -> list[psutil.Process]:
    wanted = {str(number) for number in seconds}
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if command[:1] == ["sleep"] and wanted & set(command[1:]) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found

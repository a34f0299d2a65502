"""Writes what a run's roles were granted and used: a table, and what could be taken away."""

from __future__ import annotations

from tasks.account.permission_use import ActionUse, PermissionUse
from tasks.run.escaping import code_span, markdown_table, markdown_text


def permissions_markdown(use: PermissionUse | None) -> list[str]:
    """Return the lines of the report's section, none without a record."""
    if use is None:
        return []
    rows = [(code_span(row.role), code_span(row.action), markdown_text(count_text(row))) for row in use.rows]
    unused = [f"{row.role} {row.action}" for row in use.rows if row.state == "unused"]
    said = f"Unused: {', '.join(map(code_span, unused))}." if unused else "No action is known to be unused."
    return ["## Permissions", "", f"{said} Source: {markdown_text(use.source)}.", "", *_table(rows), ""]


def count_text(row: ActionUse) -> str:
    """Return in words how an action was used."""
    last = f", last {row.last}" if row.last else ""
    denied = f"{row.denied:,} denied{last}" if row.denied else ""
    if row.state == "used":
        return f"used, {'AWS does not count' if row.count is None else _calls(row.count)}{last}"
    return ", ".join(part for part in (row.state if not denied else "", denied, row.note) if part)


def _calls(count: int) -> str:
    return f"{count:,} call" + ("" if count == 1 else "s")


def _table(rows: list[tuple[str, str, str]]) -> list[str]:
    return markdown_table(("role", "action", "use"), rows)

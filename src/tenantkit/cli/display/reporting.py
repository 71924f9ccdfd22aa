"""Reports and outcomes as JSON objects."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tenantkit.cli.display.errors import without_passwords
from tenantkit.migrations import MigrationReport, Outcome


def outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome of one tenant."""
    texts = {
        name: text and without_passwords(text)
        for name, text in (("error", outcome.error), ("traceback", outcome.traceback))
    }
    # Not asdict(), which copies all values: for the outcomes of a fleet it took four times as long.
    return {**{name: getattr(outcome, name) for name in outcome.__slots__}, **texts, "ok": outcome.ok}


def report_as_json(report: MigrationReport) -> dict[str, Any]:
    """Return a report."""
    return {
        "run_id": report.run_id,
        "command": report.command,
        "target": report.target,
        "migrated": len(report.migrated),
        "unchanged": report.unchanged,
        "failed": len(report.failures),
        "stopped": report.stopped,
        "left": report.left,
        "engines": report.engines,
        "not_replayed": dict(report.not_replayed),
        "failure_groups": [
            {
                **asdict(group),
                "error": without_passwords(group.error),
                "traceback": group.traceback and without_passwords(group.traceback),
                "tenants": len(group.keys),
                "hint": group.hint,
            }
            for group in report.failure_groups
        ],
        "shared": None if report.shared is None else outcome_as_json(report.shared),
        "outcomes": [outcome_as_json(outcome) for outcome in report.outcomes],
    }

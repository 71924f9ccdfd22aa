"""Jinja filters that format values."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum

from flask import Flask

from examples.tracker.models import Priority, TaskStatus

_AVATAR_COLORS = 6


def in_words(choice: StrEnum | str) -> str:
    """Return ``In progress`` for ``in_progress``."""
    return "To do" if choice == TaskStatus.TODO else str(choice).replace("_", " ").capitalize()


def day(moment: date) -> str:
    """Return ``15 Apr 2026``."""
    return f"{moment.day} {moment:%b %Y}"


def short_day(moment: date) -> str:
    """Return ``15 Apr``, or ``15 Apr 2025`` in another year."""
    return day(moment) if moment.year != datetime.now(UTC).year else f"{moment.day} {moment:%b}"


def minute(moment: datetime) -> str:
    """Return ``15 Apr 2026, 10:22 UTC``."""
    return f"{day(moment)}, {moment:%H:%M %Z}"


def initials(name: str) -> str:
    """Return ``AL`` for ``Ada Lovelace``."""
    parts = name.split()
    return (parts[0][:1] + (parts[-1][:1] if len(parts) > 1 else "")).upper() if parts else "?"


def avatar_color(user_id: int) -> str:
    """Return the CSS class with a user's color."""
    return f"avatar-{user_id % _AVATAR_COLORS}"


def init_app(app: Flask) -> None:
    """Register the filters of *app*."""
    app.jinja_env.filters.update(
        in_words=in_words, day=day, short_day=short_day, minute=minute, initials=initials, avatar_color=avatar_color
    )
    app.jinja_env.globals.update(STATUSES=list(TaskStatus), PRIORITIES=list(Priority))

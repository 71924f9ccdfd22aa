"""Sample data: a company's tracker after some months of work.

A company gets the same data each time, and different data from other companies.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import select

from examples.tracker.accounts import add_member, find_user
from examples.tracker.contents import Contents, summarize
from examples.tracker.models import (
    Attachment,
    Client,
    Comment,
    CustomField,
    CustomValue,
    Label,
    Member,
    Milestone,
    Priority,
    Project,
    Role,
    SavedFilter,
    Sprint,
    Task,
    TaskStatus,
    TimeEntry,
    User,
    Webhook,
)
from tenantkit import TenantSession

PASSWORD = "sample-password"  # noqa: S105 - not a secret: sample users only
"""The password of every sample user."""

ATTRIBUTES = {"sample": True}
"""The attributes of sample tenants, which a second `make demo` removes from its database."""

TODAY = date(2026, 4, 15)
"""The current day of the sample data."""

_WORDS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("sample.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Company:
    """A company with sample data."""

    key: str
    name: str
    trade: str


COMPANIES = tuple(Company(**company) for company in _WORDS["companies"])


def load(session: TenantSession, company: Company, *, password_hash: str) -> Contents:
    """Fill the empty tracker of *company*, in the caller's transaction, and return a summary of it."""
    return _Writer(session, company).write(password_hash)


class _Writer:
    """Writes the data of one company; the seed of its random numbers is the company's key."""

    def __init__(self, session: TenantSession, company: Company) -> None:
        self.session = session
        self.company = company
        self.dice = Random(company.key)  # noqa: S311 - sample data, not a secret
        self.members: list[Member] = []
        self.labels: list[Label] = []
        self.effort: CustomField | None = None

    def write(self, password_hash: str) -> Contents:
        self.members = list(self._hire(password_hash))
        self.labels = self._labels()
        self.effort = self.session.scalars(select(CustomField).where(CustomField.name == "Effort")).one_or_none()
        clients = [
            Client(name=name, country_code=country, currency_code=currency)
            for name, country, currency in self.dice.sample(_WORDS["clients"], 3)
        ]
        outlines = self.dice.sample(_WORDS["trades"][self.company.trade], 3)
        projects = [self._project(outline, self.dice.choice(clients)) for outline in outlines]
        lead = self.members[0]
        hook = f"https://hooks.{self.company.key}.example/tracker"
        contents = summarize(projects)
        self.session.add_all(
            [
                *projects,
                SavedFilter(owner=lead, name="Waiting", labels=["waiting"], statuses=[]),
                SavedFilter(owner=lead, name="In the works", statuses=[TaskStatus.IN_PROGRESS, TaskStatus.IN_REVIEW]),
                Webhook(url=hook, events=["task.created", "task.closed"]),
            ]
        )
        self.session.flush()
        return contents

    def _hire(self, password_hash: str) -> Iterator[Member]:
        given_names = self.dice.sample(_WORDS["given_names"], 5)
        family_names = self.dice.sample(_WORDS["family_names"], 5)
        for number, (given, family) in enumerate(zip(given_names, family_names, strict=True)):
            email = f"{given}.{family}@{self.company.key}.example".lower()
            user = find_user(self.session, email) or User(
                email=email, name=f"{given} {family}", password_hash=password_hash
            )
            job_title = _WORDS["job_titles"][0] if number == 0 else self.dice.choice(_WORDS["job_titles"][1:])
            yield add_member(self.session, user, Role.MEMBER if number else Role.OWNER, job_title=job_title)

    def _labels(self) -> list[Label]:
        """Return the labels, including those of a new tenant."""
        there = {label.name: label for label in self.session.scalars(select(Label))}
        labels = [there.get(name) or Label(name=name, color=color) for name, color in _WORDS["labels"]]
        self.session.add_all(labels)
        return labels

    def _project(self, outline: dict[str, Any], client: Client) -> Project:
        begin = TODAY - timedelta(days=self.dice.randint(60, 120))
        end = begin + timedelta(days=168)
        project = Project(
            key=outline["key"],
            name=outline["name"],
            description=outline["description"],
            lead=self.members[0],
            client=client,
            members=[self.members[0], *self.dice.sample(self.members[1:], 3)],
            starts_on=begin,
            due_on=end,
            settings={"color": self.dice.choice(["teal", "indigo", "amber"]), "weekly_report": self._happens(0.5)},
            milestones=[
                Milestone(name="Half way", due_on=begin + timedelta(days=84)),
                Milestone(name="Completion", due_on=end),
            ],
            sprints=[self._sprint(number, begin + timedelta(days=14 * number)) for number in range(6)],
        )
        for title in outline["tasks"]:
            self._task(project, title)
        for blocked, blocker in self.dice.sample(list(zip(project.tasks[1:], project.tasks, strict=False)), 3):
            blocked.blocked_by.append(blocker)
        return project

    def _sprint(self, number: int, begin: date) -> Sprint:
        end = begin + timedelta(days=13)
        return Sprint(name=f"Sprint {number + 1}", starts_on=begin, ends_on=end, is_active=begin <= TODAY <= end)

    def _task(self, project: Project, title: str) -> None:
        task = self._bare_task(project, title)
        task.milestone = self.dice.choice(project.milestones)
        task.labels = self.dice.sample(self.labels, self.dice.randint(0, 2))
        if self.effort is not None:
            effort = {"choice": self.dice.choice(self.effort.choices)}
            task.custom_values = [CustomValue(field=self.effort, value=effort)]
        if self._happens(0.3):
            task.subtasks = [self._bare_task(project, f"{step}: {title.lower()}") for step in _WORDS["subtasks"]]
        if self._happens(0.2):
            task.attachments = [self._attachment(task)]
        self._talk(task)

    def _bare_task(self, project: Project, title: str) -> Task:
        """Return a task of *project* with its time entries."""
        status = self.dice.choices(list(TaskStatus), weights=[3, 3, 2, 1, 4])[0]
        sprint = None if status is TaskStatus.BACKLOG else self.dice.choice(project.sprints)
        created = self._moment(project.starts_on or TODAY)
        task = Task(
            project=project,
            number=len(project.tasks) + 1,
            position=len(project.tasks),
            title=title,
            status=status,
            priority=self.dice.choices(list(Priority), weights=[2, 6, 3, 1])[0],
            sprint=sprint,
            reporter=self.dice.choice(project.members),
            assignee=None if sprint is None else self.dice.choice(project.members),
            estimate_minutes=30 * self.dice.randint(1, 24),
            due_on=None if sprint is None else sprint.ends_on,
            created_at=created,
            closed_at=created + timedelta(days=self.dice.randint(1, 40)) if status is TaskStatus.DONE else None,
        )
        if status in {TaskStatus.IN_PROGRESS, TaskStatus.IN_REVIEW, TaskStatus.DONE}:
            task.time_entries = [self._time_entry(project, created.date()) for _ in range(self.dice.randint(1, 4))]
        return task

    def _time_entry(self, project: Project, begin: date) -> TimeEntry:
        return TimeEntry(
            member=self.dice.choice(project.members),
            spent_on=begin + timedelta(days=self.dice.randint(0, 30)),
            minutes=15 * self.dice.randint(1, 20),
            note=self.dice.choice(_WORDS["notes"]),
            billable=self._happens(0.8),
        )

    def _talk(self, task: Task) -> None:
        for _ in range(self.dice.randint(0, 4)):
            comment = self._comment(task, self.dice.choice(_WORDS["comments"]))
            if self._happens(0.4):
                self._comment(task, self.dice.choice(_WORDS["replies"])).reply_to = comment

    def _comment(self, task: Task, body: str) -> Comment:
        author = self.dice.choice(self.members)
        return Comment(task=task, author=author, body=body, created_at=self._moment(task.created_at.date()))

    def _attachment(self, task: Task) -> Attachment:
        content = f"# {task.title}\n\nNotes of {self.company.name}.\n".encode()
        return Attachment(
            filename="notes.md",
            media_type="text/markdown",
            content=content,
            details={"pages": 1, "source": self.dice.choice(["upload", "e-mail"])},
            uploaded_by=self.dice.choice(self.members),
        )

    def _happens(self, probability: float) -> bool:
        return self.dice.random() < probability

    def _moment(self, earliest: date) -> datetime:
        """Return a moment in the office hours of the weeks after *earliest*."""
        day = earliest + timedelta(days=self.dice.randint(0, 20))
        return datetime.combine(day, time(self.dice.randint(8, 17), self.dice.randint(0, 59)), UTC)

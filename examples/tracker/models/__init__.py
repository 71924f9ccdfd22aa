"""The tables: shared ones in `shared`, tenant ones in the other modules."""

from examples.tracker.models.base import FieldKind, Priority, ProjectStatus, TaskStatus, TenantBase
from examples.tracker.models.people import Client, Member
from examples.tracker.models.planning import Milestone, Project, ProjectMember, Sprint
from examples.tracker.models.records import Activity, SavedFilter, Webhook
from examples.tracker.models.shared import Country, Currency, Language, Membership, Plan, Role, SharedBase, User
from examples.tracker.models.tasks import (
    Attachment,
    Comment,
    CustomField,
    CustomValue,
    Label,
    Task,
    TaskDependency,
    TaskLabel,
    TimeEntry,
)

__all__ = [
    "Activity",
    "Attachment",
    "Client",
    "Comment",
    "Country",
    "Currency",
    "CustomField",
    "CustomValue",
    "FieldKind",
    "Label",
    "Language",
    "Member",
    "Membership",
    "Milestone",
    "Plan",
    "Priority",
    "Project",
    "ProjectMember",
    "ProjectStatus",
    "Role",
    "SavedFilter",
    "SharedBase",
    "Sprint",
    "Task",
    "TaskDependency",
    "TaskLabel",
    "TaskStatus",
    "TenantBase",
    "TimeEntry",
    "User",
    "Webhook",
]

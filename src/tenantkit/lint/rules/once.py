"""The rule about what exists once in a database, or in a server, and so belongs to no tenant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tenantkit.lint.rules.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql import Statement

_KINDS = (
    r"(?:access method|database|event trigger|extension|foreign data wrapper|group|publication|role|schema"
    r"|(?:foreign )?server|subscription|tablespace|user(?: mapping)?)"
)
_STATEMENTS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"^(?P<what>(?:create|drop|comment on|security label .* on) {_KINDS})\b",
        # A tenant's own tables may join and leave a publication.
        rf"^(?P<what>alter (?!publication \S+ (?:add|drop) ){_KINDS})\b",
        r"^(?P<what>(?:create (?:or replace )?|drop )(?:trusted )?(?:procedural )?(?:cast|language|transform))\b",
        r"^(?P<what>import foreign schema)\b",
        r"^(?P<what>alter system|reassign owned|drop owned)\b",
        r"^(?P<what>alter default privileges)(?! (?:for (?:role|user) .*? )?in schema)\b",
        r"^(?P<what>(?:grant|revoke) .*? on (?:database|foreign server|foreign data wrapper|schema|tablespace))\b",
        r"^(?P<what>(?:grant|revoke)) (?!.* on )",
        r"^(?P<what>vacuum|analyze)(?: full| verbose| freeze| analyze| \( [^)]* \))*$",
        r"^(?P<what>reindex)(?: \( [^)]* \))? (?:database|system|schema)\b",
        r"\b(?P<what>cron\.\w+|pg_(?:create_logical|create_physical|drop)_replication_slot) \(",
    )
)


def exists_once(revision: Revision) -> Iterator[Problem]:
    """TK010: a tenant revision makes or changes what exists once in the database."""
    if revision.scope != "tenant":
        return
    for step, statement in revision.all_statements():
        for what in once_a_database(statement):
            yield Problem(
                step.lines,
                f"{what.upper()} is about the whole database, and a tenant revision runs once for each tenant: "
                f"{_CONSEQUENCES.get(what, 'the first does it for all, and the others fail or do it again')}. "
                "Do it in a revision of the shared line.",
            )


_CONSEQUENCES = {
    "create extension": (
        "the first has it in its own schema, where no other tenant finds it, and where it is dropped with that tenant"
    ),
    "create schema": "tenantkit creates the schemas of tenants, and this one would be shared by all of them",
}


def once_a_database(statement: Statement) -> Iterator[str]:
    """Yield what *statement* makes or changes that exists once in a database."""
    for pattern in _STATEMENTS:
        if found := pattern.search(statement.text):
            yield re.sub(r"^(grant|revoke|security label) .*(?= on )", r"\1", found["what"])
            return

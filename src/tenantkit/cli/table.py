"""The commands: the function of each, and its help in the list of commands."""

from __future__ import annotations

from tenantkit.cli.lazy import LazyCommand

COMMANDS = (
    LazyCommand(
        "create",
        "tenants.create",
        "Create a tenant, with its schema and tables at the newest revision.",
        panel="Tenants",
    ),
    LazyCommand("list", "tenants.list_", "List tenants, in the order of their keys.", panel="Tenants"),
    LazyCommand(
        "show",
        "tenants.show",
        "Show all that the registry knows of a tenant, its revision, and its outcome in the last run that reached it.",
        panel="Tenants",
    ),
    LazyCommand(
        "update",
        "tenants.update",
        "Change a tenant's display name or attributes. Other attributes stay; the value `null` removes one.",
        panel="Tenants",
    ),
    LazyCommand("suspend", "tenants.suspend", "Stop serving a tenant. All of its data stays.", panel="Tenants"),
    LazyCommand(
        "resume", "tenants.resume", "Serve a tenant again that was suspended or in maintenance.", panel="Tenants"
    ),
    LazyCommand(
        "maintenance",
        "tenants.maintenance",
        "Stop serving a tenant for a while; its visitors are told to come back. `tenantkit resume` ends it.",
        panel="Tenants",
    ),
    LazyCommand("drop", "tenants.drop", "Remove a tenant and all of its data, for good.", panel="Tenants"),
    LazyCommand(
        "doctor",
        "doctor.doctor",
        "Find what interrupted processes left behind, and put it right with `--repair`.",
        panel="Tenants",
    ),
    LazyCommand(
        "init",
        "init.init",
        "Make a migration environment: `env.py`, a template, and a folder each for shared and tenant revisions.",
        panel="Migrations",
    ),
    LazyCommand(
        "revision", "revision.revision", "Write a new revision, and print its file's path.", panel="Migrations"
    ),
    LazyCommand(
        "lint",
        "lint.lint",
        "Look for what a fleet would suffer from in revisions, without a database.",
        panel="Migrations",
    ),
    LazyCommand(
        "migrate", "migrate.migrate", "Migrate the registry, the shared tables, then every tenant.", panel="Migrations"
    ),
    LazyCommand(
        "status",
        "status.status",
        "Show how many tenants are at which revision, who is behind, and whose migration failed.",
        panel="Migrations",
    ),
    LazyCommand(
        "check",
        "check.check",
        "Find tenants whose tables are not like those of the others at their revision. Nothing is changed.",
        panel="Migrations",
    ),
    LazyCommand(
        "downgrade",
        "downgrade.downgrade",
        "Take every tenant, or the shared tables, back to a revision. What later revisions added is lost.",
        panel="Migrations",
        takes_unknown=True,
    ),
    LazyCommand(
        "stamp",
        "stamp.stamp",
        "Write down that tenants, or the shared tables, are at a revision, without running anything. Asks first.",
        panel="Migrations",
    ),
)

DOMAIN_COMMANDS = (
    LazyCommand("add", "domains.add", "Give a tenant another domain. Its first one is its primary one."),
    LazyCommand(
        "remove",
        "domains.remove",
        "Take a domain from a tenant. If it was the primary one, the first of the others becomes it.",
    ),
    LazyCommand("primary", "domains.primary", "Make one of a tenant's domains the primary one, which links use."),
    LazyCommand(
        "list", "domains.list_", "List the domains of a tenant, or of all tenants, with the primary one of each first."
    ),
)

RUNS_COMMANDS = (
    LazyCommand(
        "list", "runs.list_", "List the last runs of migrate, downgrade and stamp, and how many tenants came to what."
    ),
    LazyCommand(
        "show",
        "runs.show",
        "Show the outcome of each tenant in a run: of failures, revision, file and line; with `-v`, tracebacks.",
    ),
)

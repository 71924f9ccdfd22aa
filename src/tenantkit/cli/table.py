"""The commands: the function and the summary of each."""

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
        "show.show",
        "Show where a tenant's data is, table by table, with its revision, its last run and its history.",
        panel="Tenants",
    ),
    LazyCommand(
        "update",
        "tenants.update",
        "Change a tenant's display name or attributes. Other attributes stay; the value `null` removes one.",
        panel="Tenants",
    ),
    LazyCommand(
        "suspend",
        "suspending.suspend",
        "Stop serving a tenant, or let it only be read. All of its data stays. `tenantkit resume` ends it.",
        panel="Tenants",
    ),
    LazyCommand(
        "resume",
        "suspending.resume",
        "Serve a tenant again that is suspended, read-only or in maintenance.",
        panel="Tenants",
    ),
    LazyCommand(
        "maintenance",
        "suspending.maintenance",
        "Stop serving a tenant for a while: its visitors get status 503. `tenantkit resume` ends it.",
        panel="Tenants",
    ),
    LazyCommand(
        "rename",
        "rename.rename",
        "Give a tenant another key while it is served. Its schema keeps its name, unless `--schema` is given.",
        panel="Tenants",
    ),
    LazyCommand(
        "adopt",
        "adopting.adopt",
        "Register the schemas of an existing application as tenants, or move the tables of its only one.",
        panel="Tenants",
    ),
    LazyCommand(
        "release",
        "adopting.release",
        "Remove a tenant from the registry, and keep its schema with all of its data. Asks for the key.",
        panel="Tenants",
    ),
    LazyCommand(
        "drop",
        "drop.drop",
        "Remove a tenant and all of its data permanently, or do so after a grace period.",
        panel="Tenants",
    ),
    LazyCommand(
        "backup",
        "transfers.backup",
        "Write a file with the rows of a tenant in one snapshot, and with what else it takes to restore it.",
        panel="Tenants",
    ),
    LazyCommand(
        "restore",
        "transfers.restore",
        "Create a tenant from a backup, and migrate it to the newest revision. No existing tenant is changed.",
        panel="Tenants",
    ),
    LazyCommand(
        "export",
        "exporting.export",
        "Write a folder with the rows of a tenant in one snapshot, a file for each table, for other programs.",
        panel="Tenants",
    ),
    LazyCommand(
        "clone",
        "cloning.clone",
        "Create a tenant with the rows of another one, changed on request, for staging or a demo.",
        panel="Tenants",
    ),
    LazyCommand(
        "swap",
        "swapping.swap",
        "Give a tenant the tables of its restored copy while it is served, and the copy its former ones. Asks for the "
        "key.",
        panel="Tenants",
    ),
    LazyCommand(
        "move",
        "moving.move",
        "Move a tenant to another database while it is served. Asks for the key.",
        panel="Tenants",
    ),
    LazyCommand(
        "verify",
        "transfers.verify",
        "Read a backup to its end, and show what it holds. No database is needed.",
        panel="Tenants",
    ),
    LazyCommand(
        "spares",
        "spares.spares",
        "Hold ready-made schemas for new tenants, so that a sign-up takes milliseconds.",
        panel="Tenants",
    ),
    LazyCommand(
        "databases",
        "databases.databases",
        "List the databases of the application: their tenants, their size, the revisions, and whether they answer.",
        panel="Tenants",
    ),
    LazyCommand(
        "doctor",
        "doctor.doctor",
        "Find tenants that interrupted processes left unfinished, and repair them with `--repair`.",
        panel="Tenants",
    ),
    LazyCommand(
        "init",
        "init.init",
        "Create a migration environment: `env.py`, a template, and a folder each for shared and tenant revisions.",
        panel="Migrations",
    ),
    LazyCommand(
        "revision", "revision.revision", "Write a new revision, and print its file's path.", panel="Migrations"
    ),
    LazyCommand(
        "squash",
        "squash.squash",
        "Replace the tenants' revisions up to one by a baseline, which builds the same from nothing.",
        panel="Migrations",
    ),
    LazyCommand(
        "lint",
        "lint.lint",
        "Check revisions for problems in a fleet, without a database.",
        panel="Migrations",
    ),
    LazyCommand(
        "migrate", "migrate.migrate", "Migrate the registry, the shared tables, then every tenant.", panel="Migrations"
    ),
    LazyCommand(
        "status",
        "status.status",
        "Show the number of tenants at each revision, those that are behind, and failed migrations.",
        panel="Migrations",
    ),
    LazyCommand(
        "check",
        "check.check",
        "Find tenants whose tables differ from those of the others at their revision. Nothing is changed.",
        panel="Migrations",
    ),
    LazyCommand(
        "downgrade",
        "downgrade.downgrade",
        "Take every tenant, or the shared tables, back to a revision. Data that later revisions added is lost.",
        panel="Migrations",
        takes_unknown=True,
    ),
    LazyCommand(
        "stamp",
        "stamp.stamp",
        "Record that tenants, or the shared tables, are at a revision, without running it. Asks first.",
        panel="Migrations",
    ),
)

DOMAIN_COMMANDS = (
    LazyCommand("add", "domains.add", "Add a domain to a tenant. Its first domain is the primary one."),
    LazyCommand(
        "remove",
        "domains.remove",
        "Remove a domain from a tenant. If it was the primary one, the first of the others becomes primary.",
    ),
    LazyCommand("primary", "domains.primary", "Make one of a tenant's domains the primary one, which links use."),
    LazyCommand(
        "list", "domains.list_", "List the domains of a tenant, or of all tenants, with the primary one of each first."
    ),
)

RUNS_COMMANDS = (
    LazyCommand(
        "list",
        "runs.list_",
        "List the last runs of migrate, downgrade and stamp, with the number of tenants by outcome.",
    ),
    LazyCommand(
        "show",
        "runs.show",
        "Show the outcome of each tenant in a run; for failures, revision, file and line; with `-v`, tracebacks.",
    ),
)

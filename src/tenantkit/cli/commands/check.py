"""The command that finds tenants whose tables differ from those of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from tenantkit import drift
from tenantkit.cli.application import application
from tenantkit.cli.display.output import err, out, print_done, print_json, print_table
from tenantkit.cli.options.common import Json, Tenants, parse_keys
from tenantkit.drift import Difference, DriftReport, Group, Item, Odd
from tenantkit.naming import first_lines

_SHOWN_KEYS = 3
_SHOWN_DIFFERENCES = 20

_SEEN_BY_AUTOGENERATE = frozenset({"table", "column", "unique constraint", "foreign key", "index", "sequence"})
"""Kinds of items that Alembic compares; it compares no checks, exclusions, functions and the like."""

_STANDARDS = {
    "majority": "one another",
    "revisions": "what the revisions build",
    "models": "what the models declare",
    "nothing": "nothing",
}


def check(
    context: typer.Context,
    *,
    tenants: Tenants = None,
    models: Annotated[
        bool,
        typer.Option(
            "--models",
            metavar="",
            help="Compare tenants with the tables that the revisions build, and the newest revision with the models.",
        ),
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", metavar="", help="Print the SQL that repairs each tenant.")] = False,
    as_json: Json = False,
) -> None:
    """Find tenants whose tables differ from those of the others at their revision. Nothing is changed.

    All objects of a schema are compared, except for storage and privileges: columns, types, defaults, constraints,
    indexes, triggers, functions, views, policies. The exit code is 1 if there is a difference, or a tenant that is
    compared with nothing because it is alone at its revision. Common tables of tenants with row isolation are compared
    with what the revisions build.

    **Examples**

    - `tenantkit check`
    - `tenantkit check --models --tenants acme`
    - `tenantkit check --sql > repair.sql`, then read it, then `psql -v ON_ERROR_STOP=1 -f repair.sql`
    """
    keys = parse_keys(tenants)
    with application(context) as tenancy:
        report = drift.check(tenancy, tenants=keys, models=models, scripts=sql)
    if as_json:
        print_json(_as_json(report, with_sql=sql))
    elif sql:
        _print_sql(report)
    else:
        _print(report)
    if report.moving:
        err.print(
            f"Migrated during the check, and therefore left out: {first_lines(report.moving)}. Run it again.",
            soft_wrap=True,
        )
    if report.left_out:
        err.print(
            "No drift: tenants outside of the main database have no foreign keys to shared tables, whose rows nothing "
            f"checks there: {first_lines(report.left_out)}.",
            soft_wrap=True,
        )
    if report.unused_indexes:
        err.print(
            "No drift: row security keeps PostgreSQL from using these indexes of common tables to find rows: "
            f"{first_lines(report.unused_indexes)}. Tenants that need them need schemas of their own.",
            soft_wrap=True,
        )
    if report.names_in_text:
        err.print(
            "No drift: a schema's name is text here, so 'tenantkit rename --schema' and spares are not possible: "
            f"{first_lines(report.names_in_text)}.",
            soft_wrap=True,
        )
    if report.guard_obstacle is not None:
        err.print(f"No drift: this login cannot create tenants: {report.guard_obstacle}.", soft_wrap=True)
    if report.alone:
        err.print(
            f"Compared with nothing, because no other tenant is at the same revision: {first_lines(report.alone)}. "
            "'tenantkit check --models' compares with what the code builds.",
            soft_wrap=True,
        )
    if report.has_drift or report.alone:
        raise typer.Exit(1)


def _print(report: DriftReport) -> None:
    if report.groups:
        print_table(
            ("Revision", "Tenants", "Alike", "Odd", "Compared with"),
            [
                (
                    group.revision or "none",
                    str(group.tenants),
                    *_count(group),
                    _STANDARDS[group.standard],
                )
                for group in report.groups
            ],
        )
        out.print()
    elif not report.missing and not report.unreachable:
        err.print("There are no tenants yet.")
    for odd in report.odd:
        _print_differences(out, first_lines(odd.schemas, _SHOWN_KEYS), odd.differences)
    _print_what_no_sql_mends(out, report)
    if report.odd:
        err.print("'tenantkit check --sql' prints the SQL that repairs the tenants.")
    elif not report.has_drift and not report.alone and any(group.standard != "nothing" for group in report.groups):
        print_done("No drift:", "tenants at the same revision are the same.")


def _count(group: Group) -> tuple[str, str]:
    if group.standard == "nothing":
        return "-", "-"
    return str(group.alike), str(group.tenants - group.alike)


def _print_sql(report: DriftReport) -> None:
    for odd in report.odd:
        for key in odd.schemas:
            typer.echo("\n".join([*_comments(key, odd), odd.script(key)]))
    _print_what_no_sql_mends(err, report)


def _print_what_no_sql_mends(console: Console, report: DriftReport) -> None:
    for key in report.missing:
        console.print(f"{key}: the schema does not exist; see 'tenantkit doctor'", soft_wrap=True)
    for key, problem in report.unreachable.items():
        console.print(f"{key}: {problem}", soft_wrap=True)
    if report.models:
        _print_differences(console, "revisions", report.models)
        are_seen = any(difference.key.kind in _SEEN_BY_AUTOGENERATE for difference in report.models)
        advice = "'tenantkit revision --autogenerate' may help" if are_seen else "write a revision by hand"
        err.print(f"The revisions do not build what the models declare: {advice}.", soft_wrap=True)


def _print_differences(console: Console, subject: str, differences: Sequence[Difference]) -> None:
    for difference in differences[:_SHOWN_DIFFERENCES]:
        console.print(f"{subject}: {difference}", soft_wrap=True)
    if (left := len(differences) - _SHOWN_DIFFERENCES) > 0:
        console.print(f"{subject}: and {left} more differences; --json has them all", soft_wrap=True)


def _comments(key: str, odd: Odd) -> Iterator[str]:
    for difference in odd.differences:
        # A name with a line break in it must not become SQL.
        yield f"-- {key}: {' '.join(str(difference).split())}"


def _as_json(report: DriftReport, *, with_sql: bool) -> dict[str, Any]:
    return {
        "has_drift": report.has_drift,
        "groups": [
            {
                "revision": group.revision,
                "standard": group.standard,
                "tenants": group.tenants,
                "alike": group.alike,
                "alone": group.alone,
                "odd": [_odd_as_json(odd, with_sql=with_sql) for odd in group.odd],
            }
            for group in report.groups
        ],
        "models": [_difference_as_json(each) for each in report.models],
        "missing": report.missing,
        "unreachable": dict(report.unreachable),
        "left_out": report.left_out,
        "moving": report.moving,
        "unused_indexes": report.unused_indexes,
        "names_in_text": report.names_in_text,
        "guard_obstacle": report.guard_obstacle,
    }


def _odd_as_json(odd: Odd, *, with_sql: bool) -> dict[str, Any]:
    sql = {"sql": {key: odd.script(key) for key in odd.schemas}} if with_sql else {}
    return {
        "tenants": list(odd.schemas),
        "differences": [_difference_as_json(each) for each in odd.differences],
        **sql,
    }


def _difference_as_json(difference: Difference) -> dict[str, Any]:
    def aspects(item: Item | None) -> Any:
        return None if item is None else item.aspects

    return {
        "words": str(difference),
        "change": difference.change,
        "kind": difference.key.kind,
        "table": difference.key.table,
        "name": difference.key.name,
        "expected": aspects(difference.expected),
        "found": aspects(difference.found),
    }

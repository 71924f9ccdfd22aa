"""The command that creates a migration environment."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tenantkit import adoption, migrations
from tenantkit.cli.application import load_metadata
from tenantkit.cli.display.output import err, out, print_done, print_json, print_table
from tenantkit.cli.options.common import Json
from tenantkit.user_code import without_exits


def init(
    context: typer.Context,  # noqa: ARG001 - every command has it
    name: Annotated[str, typer.Argument(metavar="FOLDER", help="The new folder.")] = "migrations",
    *,
    adopt: Annotated[
        str | None,
        typer.Option(
            "--adopt",
            metavar="MODULE:NAME",
            help="Create nothing: print which tables of this metadata, or of a base class, to share.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a migration environment: `env.py`, a template, and a folder each for shared and tenant revisions.

    Nothing is overwritten. Where the project has an `alembic.ini`, the one for tenants goes into the folder.

    With `--adopt`, no file is made. It reads the models of an application without tenants, and prints which tables
    could be shared, which would be the tenants', and the next steps.

    **Examples**

    - `tenantkit init migrations`
    - `tenantkit init tenant_migrations`
    - `tenantkit init --adopt shop.models:Base`
    """
    if adopt is not None:
        _propose(adopt, as_json=as_json)
        return
    files = migrations.init(name)
    folder = Path(name)
    if as_json:
        print_json([str(file) for file in files])
        return
    for file in files:
        print_done("Created", str(file))
    if (own := folder / "alembic.ini") in files:
        print_done("Kept", f"{folder.parent / 'alembic.ini'}; plain Alembic commands for tenants take -c {own}")
    out.print(
        "\nNext:\n"
        f"  1. Give it to your application: Tenancy(..., migrations={str(folder)!r}).\n"
        "  2. Name the application in pyproject.toml, so that commands find it:\n"
        "         [tool.tenantkit]\n"
        '         app = "package.module:tenancy"\n'
        "  3. tenantkit revision --shared --autogenerate -m 'Shared tables'\n"
        "  4. tenantkit migrate --shared-only\n"
        "  5. tenantkit revision --autogenerate -m 'First tables'\n"
        "  6. tenantkit migrate\n"
        "No server at hand? tenantkit.embedded.embedded_database() starts one and returns its URL: "
        "pip install 'tenantkit[embedded]'.",
        soft_wrap=True,
    )


def _propose(reference: str, *, as_json: bool) -> None:
    with without_exits("The application"):
        found = adoption.propose(load_metadata(reference))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    print_table(("Table", "Side", "Reason"), [(each.table, each.side, each.reason) for each in found])
    err.print(
        "\nThis is a proposal, by keys only. If you agree:\n"
        "  1. Give the shared tables MetaData(schema='shared'), and the others MetaData(schema='tenant').\n"
        "  2. tenantkit adopt --schema public --as KEY --dry-run\n"
        "It then moves the shared tables to 'shared', and the others, with all that belongs to them, to a schema of "
        "the tenant.",
        soft_wrap=True,
    )

"""The command that creates a migration environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tenantkit import migrations
from tenantkit.cli.display.output import out, print_done, print_json
from tenantkit.cli.options.common import Json


def init(
    context: typer.Context,  # noqa: ARG001 - every command has it
    name: Annotated[str, typer.Argument(metavar="FOLDER", help="The new folder.")] = "migrations",
    *,
    as_json: Json = False,
) -> None:
    """Create a migration environment: `env.py`, a template, and a folder each for shared and tenant revisions.

    Nothing is overwritten. Where the project has an `alembic.ini`, the one for tenants goes into the folder.

    **Examples**

    - `tenantkit init migrations`
    - `tenantkit init tenant_migrations`
    """
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

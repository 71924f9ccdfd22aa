"""The command that writes a revision."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tenantkit.cli.application import application
from tenantkit.cli.display.output import err, out, print_json
from tenantkit.cli.options.common import Json
from tenantkit.migrations.authoring.commands import write
from tenantkit.migrations.authoring.drafting import Position


def revision(
    context: typer.Context,
    message: Annotated[
        str,
        typer.Option("--message", "-m", metavar="TEXT", help="A short description of the change.", show_default=False),
    ],
    *,
    shared: Annotated[
        bool, typer.Option("--shared", metavar="", help="For the shared tables, not the tenants'.")
    ] = False,
    autogenerate: Annotated[
        bool,
        typer.Option("--autogenerate", metavar="", help="Write the differences between the models and the revisions."),
    ] = False,
    phase: Annotated[
        Literal["expand", "contract"] | None,
        typer.Option(
            "--phase",
            help="Before (expand) or after (contract) a deployment. With --autogenerate, the operations decide.",
            show_default=False,
        ),
    ] = None,
    head: Annotated[
        str,
        typer.Option("--head", metavar="REVISION", help="The revision that it follows: an id, branch@head, or base."),
    ] = "head",
    splice: Annotated[
        bool, typer.Option("--splice", metavar="", help="Begin a branch after a revision that is not a head.")
    ] = False,
    branch_label: Annotated[
        str | None, typer.Option("--branch-label", metavar="NAME", help="The name of the branch that begins with it.")
    ] = None,
    depends_on: Annotated[
        list[str] | None,
        typer.Option(
            "--depends-on", metavar="REVISION", help="A revision that must be applied before. Repeat for more."
        ),
    ] = None,
    rev_id: Annotated[
        str | None, typer.Option("--rev-id", metavar="ID", help="Its id, instead of random digits.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a new revision, and print its file's path.

    With `--autogenerate`, no file is written if the models have no differences. New labels of ENUM types, which Alembic
    does not write, are reported. A hook in `env.py` may turn the revision into several, or none.

    **Examples**

    - `tenantkit revision -m "Add invoices" --autogenerate`
    - `tenantkit revision -m "Fill in currencies" --shared`
    - `tenantkit revision -m "Billing" --head 1a2b --splice --branch-label billing`
    """
    position: Position = {
        "head": head,
        "splice": splice,
        "branch_label": branch_label,
        "depends_on": depends_on,
        "rev_id": rev_id,
    }
    with application(context) as tenancy:
        written = write(tenancy, message, position, shared=shared, autogenerate=autogenerate, phase=phase)
    paths = [*map(str, written.paths)]
    if as_json:
        print_json({"path": paths[-1] if paths else None, "paths": paths, "notes": list(written.notes)})
        return
    for path in paths:
        out.print(path, soft_wrap=True)
    if not paths and not written.notes:
        err.print("Nothing to write: the models have no differences from the revisions.")
    for note in written.notes:
        err.print(note, soft_wrap=True)

"""The command that replaces revisions by a baseline."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantkit import baseline
from tenantkit.cli.application import application
from tenantkit.cli.display.output import err, out, print_json
from tenantkit.cli.options.common import Json


def squash(
    context: typer.Context,
    *,
    to: Annotated[str, typer.Option("--to", metavar="REVISION", help="The newest revision that it replaces.")] = "head",
    from_models: Annotated[
        bool,
        typer.Option(
            "--from-models",
            metavar="",
            help="Write what the models declare, for revisions that do not start from nothing.",
        ),
    ] = False,
    from_tenant: Annotated[
        str | None,
        typer.Option(
            "--from-tenant", metavar="KEY", help="Write what this tenant has, without its rows.", show_default=False
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="KEY",
            help="A tenant that must have the same objects; with `--from-models`, by default the first.",
            show_default=False,
        ),
    ] = None,
    allow_losses: Annotated[
        bool,
        typer.Option(
            "--allow-losses", metavar="", help="Leave out what no baseline has, such as privileges and aggregates."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Print the baseline, and change no file.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Replace the tenants' revisions up to one by a baseline, which builds the same from nothing.

    It has the id of that revision, so tenants stay as they are; all of them must be at it or above. The files of the
    earlier revisions are deleted: commit them before. The baseline is used only if it builds an equal schema, with the
    rows that the revisions leave in a new one.

    **Examples**

    - `tenantkit squash --dry-run`
    - `tenantkit squash --to 8d3f`
    - `tenantkit squash --from-models --like acme`
    """
    with application(context) as tenancy:
        made = baseline.squash(
            tenancy,
            to,
            from_models=from_models,
            from_tenant=from_tenant,
            like=like,
            allow_losses=allow_losses,
            dry_run=dry_run,
        )
    if as_json:
        print_json(
            {
                "revision": made.revision,
                "path": str(made.path),
                "text": made.text,
                "replaced": made.replaced,
                "rows": made.rows,
                "left_out": made.left_out,
            }
        )
        return
    out.print(made.text if dry_run else str(made.path), soft_wrap=True, markup=False, highlight=False)
    if made.replaced:
        err.print(f"In place of {', '.join(made.replaced)}, and of what {made.revision} was.", soft_wrap=True)
    if made.rows:
        err.print(f"It inserts {made.rows} rows.", soft_wrap=True)
    for each in made.left_out:
        err.print(f"Left out: {each}", soft_wrap=True)

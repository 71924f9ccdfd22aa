"""Making a migration environment, and writing revisions."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from alembic import command
from sqlalchemy import inspect
from sqlalchemy.schema import CreateSchema

from tenantkit.arguments import FLAG, PATH, TEXT, require
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.enums import label_notes
from tenantkit.migrations.env_file import requesting, require_usable
from tenantkit.migrations.environment import Request, Site, run
from tenantkit.migrations.generated_objects import complete, write_without_schema
from tenantkit.migrations.lines import Line, clear_errors
from tenantkit.migrations.phases import require_known
from tenantkit.migrations.proposals import propose, write_phase
from tenantkit.migrations.sites import line_of, shared_site
from tenantkit.migrations.status import require_shared_is_current
from tenantkit.schema_objects import Sides
from tenantkit.tenancy import TENANCY, Tenancy

if TYPE_CHECKING:
    from collections.abc import Generator
    from collections.abc import Set as AbstractSet

    from alembic.operations.ops import MigrationScript, UpgradeOps
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script
    from sqlalchemy import Connection, MetaData
    from sqlalchemy.dialects.postgresql.base import PGInspector

    from tenantkit.migrations.phases import Phase

_log = logging.getLogger("tenantkit.migrations")


class Written(NamedTuple):
    """A new revision."""

    path: Path | None
    """Its file, if there was something to write."""
    operations: Sequence[UpgradeOps] = ()
    notes: Sequence[str] = ()
    """What autogenerate has found, but cannot write: each a sentence."""


_SCRATCH = "tenantkit_autogenerate"
"""The schema that autogenerate builds where tenant tables have no schema, so there is no placeholder's name to use."""


def init(folder: str | Path) -> list[Path]:
    """Make a migration environment in *folder*, with an ``alembic.ini`` beside it, and return the new files.

    Where another ``alembic.ini`` stands, that is kept, and the new one goes into *folder*.

    :raises ConfigurationError: if *folder* has such a file already; nothing is overwritten.
    """
    require(folder=(folder, PATH))
    folder = Path(folder)
    templates = resources.files("tenantkit.migrations") / "templates"
    beside = folder.parent / "alembic.ini"
    own = folder / "alembic.ini"
    configuration, name, alembic = (
        (own, ".", f"alembic -c {own}") if beside.exists() else (beside, folder.name or ".", "alembic")
    )
    files = {
        folder / "env.py": (templates / "env.py").read_text(),
        folder / "script.py.mako": (templates / "script.py.mako").read_text(),
        folder / "shared" / ".gitkeep": "",
        folder / "tenant" / ".gitkeep": "",
        configuration: (templates / "alembic.ini").read_text().replace("{folder}", name).replace("{alembic}", alembic),
    }
    for file in files:
        if file.exists():
            other = folder.parent / f"tenant_{folder.name or 'migrations'}"
            raise ConfigurationError(
                f"{file} exists already, and nothing was overwritten. Choose another folder, for example "
                f"'tenantkit init {other}'."
            )
    for file, content in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return list(files)


def revision(
    tenancy: Tenancy, message: str, *, shared: bool = False, autogenerate: bool = False, phase: Phase | None = None
) -> Path | None:
    """Write a new revision of the tenants' tables, or of the shared ones, and return its file.

    With *autogenerate*, it holds what the models have and the revisions so far do not; ``None`` is
    returned, and no file written, if that is nothing. The tenants' side is compared with a
    schema that is built for the purpose, in a transaction that is rolled back: no tenant is touched. Labels of an ENUM
    type that differ are not written, but logged as a warning.

    :param phase: whether it is for before or after the deployment of the code that needs it; see
        `tenantkit.migrations.Options`. With *autogenerate*, the operations decide by default.
    :raises ConfigurationError: if the environment is not usable, or the shared tables are not migrated yet.
    """
    require(
        tenancy=(tenancy, TENANCY), message=(message, TEXT), shared=(shared, FLAG), autogenerate=(autogenerate, FLAG)
    )
    require_known(phase)
    written = write(tenancy, message, shared=shared, autogenerate=autogenerate, phase=phase)
    for note in written.notes:
        _log.warning(note)
    return written.path


def write(tenancy: Tenancy, message: str, *, shared: bool, autogenerate: bool, phase: Phase | None) -> Written:
    """Do what `revision` does, and return also what it cannot write."""
    line = line_of(tenancy, "shared" if shared else "tenant")
    _ = line.scripts  # Alembic would take revisions that are not usable
    with clear_errors("The revision cannot be written", line.alembic, line.environment):
        if not autogenerate:
            file = _path(command.revision(line.config, message, version_path=str(line.folder)))
            if file is not None and phase is not None:
                write_phase(file, phase)
            return Written(file)
        require_usable(line)
        with tenancy.engine.connect() as connection, connection.begin() as transaction:
            compare = _compare_shared if shared else _compare_tenant
            written = compare(tenancy, connection, line, message)
            transaction.rollback()
        if written.path is not None:
            proposed, is_mixed = propose(written.operations)
            write_phase(written.path, phase or proposed, is_mixed=is_mixed and phase is None)
        return written


def _compare_tenant(tenancy: Tenancy, connection: Connection, line: Line, message: str) -> Written:
    """Write what the models have and a schema built by the revisions has not.

    That schema bears the placeholder's own name, so what is read from the catalog is what
    models and revisions say, and nothing needs to be translated back.
    """
    require_shared_is_current(tenancy)
    schema = tenancy.placeholder or _SCRATCH
    site = Site(schema=schema, others=tenancy.extra_schemas, placeholder=tenancy.placeholder, in_transaction=True)
    connection.execute(CreateSchema(schema))
    run(connection, line, site, lambda current, _: line.upgrade_steps("heads", current))
    site = replace(site, is_visible=tenancy.placeholder is None)
    return _write(connection, line, site, message, tenancy.metadata.tenant, {tenancy.placeholder}, _sides(tenancy))


def _compare_shared(tenancy: Tenancy, connection: Connection, line: Line, message: str) -> Written:
    """Write what the models have and the shared tables have not."""
    for schema in tenancy.shared_schemas:
        connection.execute(CreateSchema(schema, if_not_exists=True))
    site = replace(shared_site(tenancy), in_transaction=True, is_visible=False)
    metadata = tenancy.metadata.shared or tenancy.metadata.tenant
    return _write(connection, line, site, message, metadata, set(tenancy.shared_schemas), _sides(tenancy))


def _sides(tenancy: Tenancy) -> Sides:
    tables = tenancy.tables
    return Sides(tenancy.placeholder, tables.shared, tables.tenant, tenancy.metadata.tenant)


def _write(
    connection: Connection,
    line: Line,
    site: Site,
    message: str,
    metadata: MetaData,
    schemas: AbstractSet[str | None],
    sides: Sides,
) -> Written:
    tables = sides.tenant if site.translates else sides.shared
    names = {(table.schema, table.name) for table in tables}
    # Tables without revisions were made from the models: the first revision has to make them too.
    is_first = line.is_empty

    def include_name(name: str | None, kind: str, _parents: object) -> bool:
        return name in schemas if kind == "schema" else not (kind == "table" and is_first)

    def include_object(item: Any, _name: str | None, kind: str, reflected: bool, _other: object) -> bool:  # noqa: FBT001
        if kind != "table":
            return True
        # One metadata may hold the models of the other side too.
        return item.name != "alembic_version" if reflected else (item.schema, item.name) in names

    inspector = cast("PGInspector", inspect(connection))
    labels = {
        (schema, enum["name"]): enum["labels"]
        for schema in (() if is_first else schemas)
        for enum in inspector.get_enums(schema or site.schema)
    }
    found: list[UpgradeOps] = []

    def finish(context: MigrationContext, _revision: object, directives: list[MigrationScript]) -> None:
        for each in directives:
            complete(each, connection, site, sides, is_first=is_first)
        directives[:] = [each for each in directives if each.upgrade_ops and not each.upgrade_ops.is_empty()]
        for each in directives:
            found.extend(each.upgrade_ops_list)
        if site.translates:
            write_without_schema(context, site.placeholder)

    options = {
        "target_metadata": metadata,
        "include_schemas": schemas != {None},
        "include_name": include_name,
        "include_object": include_object,
    }
    default = site.schema if site.is_visible else "pg_temp"
    with _default_schema(connection, default), requesting(line.config, Request(connection, site, options)):
        written = command.revision(
            line.config,
            message,
            autogenerate=True,
            version_path=str(line.folder),
            process_revision_directives=finish,
        )
    # The package alembic-postgresql-enum, which env.py may import, writes them itself.
    by_others = "alembic_postgresql_enum" in sys.modules
    notes = () if by_others else label_notes(tables, labels, is_shared=not site.translates)
    return Written(_path(written), found, notes)


@contextmanager
def _default_schema(connection: Connection, schema: str) -> Generator[None]:
    """Have reflection call *schema* the default one: its tables are found without a schema, all others with theirs.

    The dialect is the engine's, so this is for a command that is alone in its process.
    """
    dialect = connection.dialect
    before = dialect.default_schema_name
    dialect.default_schema_name = schema
    try:
        yield
    finally:
        dialect.default_schema_name = before


def _path(written: Script | list[Script | None] | None) -> Path | None:
    scripts = written if isinstance(written, list) else [written]
    return next((Path(script.path) for script in scripts if script is not None), None)

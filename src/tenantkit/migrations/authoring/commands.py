"""The commands that create a migration environment and write revisions."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import Unpack

from tenantkit.arguments import FLAG, PATH, require, require_options
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.migrations.authoring.comparing import Written, compare_shared, compare_tenant
from tenantkit.migrations.authoring.drafting import MESSAGE, POSITION, Drafts, Position
from tenantkit.migrations.environment.env_file import require_usable
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.migrations.graph.revision_graph import clear_errors
from tenantkit.migrations.planning.phases import require_known
from tenantkit.user_code import ContainedExits

if TYPE_CHECKING:
    from tenantkit.migrations.planning.phases import Phase

_log = logging.getLogger("tenantkit.migrations")


def init(folder: str | Path) -> list[Path]:
    """Create a migration environment in *folder*, with an ``alembic.ini`` beside it, and return the new files.

    An existing ``alembic.ini`` is kept, and the new one goes into *folder*.

    :raises ConfigurationError: if *folder* has such a file already, as nothing is overwritten, or cannot be made.
    """
    require(folder=(folder, PATH))
    folder = Path(folder)
    with _saying_what_cannot_be_made():
        folder.mkdir(parents=True, exist_ok=True)  # a path may lead through it to what is beside it: a/../b
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
    with _saying_what_cannot_be_made():
        for file, content in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x") as new:
                new.write(content)
    return list(files)


@contextmanager
def _saying_what_cannot_be_made() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be made: {as_clause(error.strerror or str(error))}."
        ) from error


def revision(
    tenancy: Deployment,
    message: str,
    *,
    shared: bool = False,
    autogenerate: bool = False,
    phase: Phase | None = None,
    **position: Unpack[Position],
) -> Path | None:
    """Write a new revision of the tenants' tables, or of the shared ones, and return its file.

    With *autogenerate*, it has the differences between the models and the existing revisions; without differences,
    ``None`` is returned and no file is written. The tenants' models are compared with a schema that is built for the
    comparison, in a transaction that is rolled back: no tenant is touched. Different labels of an ENUM
    type are not written, but logged as a warning. If a hook of ``env.py`` makes several revisions of it,
    the file of the last is returned.

    :param phase: whether it runs before or after the deployment of the code that needs it; see
        `tenantkit.migrations.Options`. With *autogenerate*, the operations decide by default.
    :param position: its place in the graph, see `tenantkit.migrations.Position`.
    :raises ConfigurationError: if the environment is not usable, the shared tables are not migrated yet, or a revision
        cannot have this place.
    """
    require(tenancy=(tenancy, TENANCY), shared=(shared, FLAG), autogenerate=(autogenerate, FLAG))
    written = write(tenancy, message, position, shared=shared, autogenerate=autogenerate, phase=phase)
    for note in written.notes:
        _log.warning(note)
    return written.paths[-1] if written.paths else None


def write(
    tenancy: Deployment, message: str, position: Position, *, shared: bool, autogenerate: bool, phase: Phase | None
) -> Written:
    """Write a revision as `revision` does; return also the differences that it cannot write.

    :raises TypeError: if a part of *position* has the wrong type, or is unknown.
    :raises ConfigurationError: as `revision` does.
    """
    require(message=(message, MESSAGE))
    require_options("revision", position, POSITION)
    require_known(phase)
    graph = graph_of(tenancy, "shared" if shared else "tenant")
    _ = graph.scripts  # Alembic would accept unusable revisions
    what = "The revision cannot be written"
    with clear_errors(what, graph.alembic, graph.environment), ContainedExits("env.py, or one of its hooks,"):
        drafts = Drafts(graph, message, position, phase, autogenerate=autogenerate)
        if not drafts.need_environment:
            return Written(drafts.write())
        require_usable(graph)
        with tenancy.engine.connect() as connection, connection.begin() as transaction:
            compare = compare_shared if shared else compare_tenant
            written = compare(tenancy, connection, graph, drafts)
            transaction.rollback()
        return written

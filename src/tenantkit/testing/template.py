"""The databases of a process that runs tests: copies of a template, which is made once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager

from sqlalchemy import URL

from tenantkit.databases.base import separate
from tenantkit.exceptions import ConfigurationError
from tenantkit.lifecycle.builders import make_shared_tables
from tenantkit.migrations import migrate
from tenantkit.registry import other_databases
from tenantkit.registry.identity import read_identity
from tenantkit.status import Status
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import MAIN_DATABASE, Tenant
from tenantkit.testing.databases import AnyTenancy, Redirection, Server, sync_tenancy


class Databases:
    """A template with the application's tables and tenants, and a protected copy that most tests share.

    Of an application with several databases, there are as many of each.
    """

    def __init__(self, tenancy: AnyTenancy, server_url: URL, populate: Callable[[Tenancy], object]) -> None:
        """Make both, and redirect *tenancy* to the shared copy."""
        self._sync = sync_tenancy(tenancy)
        with ExitStack() as stack:
            self._server = stack.enter_context(closing(Server(server_url)))
            self._redirection = Redirection(tenancy)
            stack.callback(self._redirection.disconnect)
            self._templates = {name: self._server.create() for name in self._sync.databases.keys}
            self._redirection.to(self._templates)
            prepare(self._sync)
            populate(self._sync)
            self._make_roles()
            self._remove_marks()
            self._redirection.disconnect()
            self._shared = self._copy_all()
            self._redirection.to(self._shared)
            self._make_roles()
            self._server.protect(self._shared.values())
            self._redirection.to(self._shared)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close all connections, and drop the databases."""
        self._stack.close()

    @contextmanager
    def copy(self) -> Generator[URL]:
        """Redirect the tenancy to new copies of the templates during a block, and yield the URL of the main one."""
        copies = self._copy_all()
        self._redirection.to(copies)
        try:
            self._make_roles()
            yield copies[MAIN_DATABASE]
        finally:
            self._redirection.to(self._shared)
            self._server.drop(copies.values())

    def _copy_all(self) -> dict[str, URL]:
        return {name: self._server.create(str(template.database)) for name, template in self._templates.items()}

    def _make_roles(self) -> None:
        """Make the roles of tenants, if the tenancy has a guard: a copy is another registry, whose roles are others."""
        if self._sync.tenant_roles is not None:
            self._sync.repair()
            with self._sync.engine.connect() as connection:
                self._server.registries.append(read_identity(connection))

    def _remove_marks(self) -> None:
        """Remove the marks of the other databases, as they name the registry of the template."""
        for name in separate(self._sync.databases):
            with self._sync.databases.engine(name).begin() as connection:
                other_databases.remove_mark(connection)

    def two_tenants(self) -> tuple[Tenant, Tenant]:
        """Return the first two active tenants.

        :raises ConfigurationError: if there are fewer.
        """
        match self._sync.list(status=Status.ACTIVE, limit=2):
            case [first, second]:
                return first, second
            case _:
                raise ConfigurationError(
                    "The tests need two active tenants: create them in the function of the fixture tenantkit_populate."
                )


def prepare(tenancy: Tenancy) -> None:
    """Create the registry and the shared tables: by the migrations, or else from the models."""
    if tenancy.migrations is not None:
        migrate(tenancy)
        return
    tenancy.install()
    with tenancy.engine.begin() as connection:
        make_shared_tables(connection, tenancy)

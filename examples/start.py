"""Preparation of the tracker's database for the example applications."""

from __future__ import annotations

import signal
import sys
from functools import partial
from types import FrameType

from rich.console import Console
from rich.markup import escape
from sqlalchemy import select
from sqlalchemy.orm import Session

from examples.tracker import sample
from examples.tracker.accounts import add_member, hash_password
from examples.tracker.models import Membership, Role, User
from examples.tracker.reference import load_reference_data
from tenantkit import Status, Tenancy, Tenant, TenantSession
from tenantkit.migrations import migrate

COMPANIES = sample.COMPANIES[:3]


def prepare(tenancy: Tenancy) -> None:
    """Migrate the database, load the reference data, and fill an empty tracker with a few sample tenants."""
    console = Console()
    with console.status("Migrating the database …"):
        migrate(tenancy)
        let_use_shared(tenancy)
        with tenancy.shared_session() as session:
            load_reference_data(session)
            session.commit()
    if not tenancy.list(status=Status.ACTIVE, limit=1):
        with console.status("Creating sample tenants …"):
            create_samples(tenancy)


def let_use_shared(tenancy: Tenancy) -> None:
    """Let the application's login read and write the shared tables; those of tenants are left to ``grant_to=``."""
    with tenancy.engine.begin() as connection:
        for role in map(connection.dialect.identifier_preparer.quote, tenancy.grant_to):
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA shared TO {role}")
            connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA shared TO {role}")


def create_samples(tenancy: Tenancy) -> None:
    """Create sample tenants; the owner of each is a member of the next one, too."""
    password_hash = hash_password(sample.PASSWORD)
    former: Tenant | None = None
    for company in COMPANIES:
        former = tenancy.create(
            company.key,
            name=company.name,
            attributes={"plan": "team", **sample.ATTRIBUTES},
            seed=partial(_fill, company=company, password_hash=password_hash, former=former),
        )


def announce(tenancy: Tenancy, *, port: int) -> None:
    """Print the addresses of the application, and the users who can log in."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\nThe tracker is at [bold]http://localhost:{port}/[/]. Ctrl-C stops it.\n")
    with tenancy.shared_session() as session:
        for tenant in tenancy.list(status=Status.ACTIVE, limit=len(COMPANIES)):
            console.print(f"[bold]{escape(tenant.name)}[/]")
            console.print(f"    http://{tenant.key}.localhost:{port}/ or http://localhost:{port}/t/{tenant.key}/")
            if (owner := _find_owner(session, tenant)) is not None:
                console.print(f"    log in as [bold]{escape(owner.email)}[/]")
    console.print(f"\nThe password of all sample users is [bold]{sample.PASSWORD}[/]\n")


def exit_on_sigterm() -> None:
    """Exit on SIGTERM, so that the embedded server stops too."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        sys.exit()

    signal.signal(signal.SIGTERM, end)


def _fill(session: TenantSession, *, company: sample.Company, password_hash: str, former: Tenant | None) -> None:
    sample.load(session, company, password_hash=password_hash)
    if former is not None and (owner := _find_owner(session, former)) is not None:
        add_member(session, owner)


def _find_owner(session: Session, tenant: Tenant) -> User | None:
    owners = select(User).join(User.memberships).where(Membership.tenant_id == tenant.id, Membership.role == Role.OWNER)
    return session.scalars(owners.order_by(User.id).limit(1)).one_or_none()

"""A demonstration, from an empty folder to a migrated fleet: ``make demo``.

It starts an embedded PostgreSQL, and creates trackers for companies with data of their own: one with a database, three
with a schema each, and 25 in common tables. It reads the data by concurrent threads and tasks. Then it migrates the
fleet by one revision, as a new release does.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from sqlalchemy import URL, Select, delete, or_, select, text

from examples.start import let_use_shared
from examples.tracker import boards, contents, display, sample
from examples.tracker.accounts import add_member, close_account, hash_password
from examples.tracker.app import MIGRATIONS, make_async_tenancy, make_tenancy
from examples.tracker.contents import Contents
from examples.tracker.models import Membership, Role, Task, TaskStatus, User
from examples.tracker.reference import load_reference_data
from examples.tracker.sample import COMPANIES, Company
from tenantkit import Tenancy, Tenant, TenantkitError, TenantMismatchError, tenant_context
from tenantkit.embedded import embedded_database
from tenantkit.migrations import FleetStatus, migrate, status, upgrade_shared

Result = TypeVar("Result")

PROJECT = Path(__file__).parents[2]
LOGIN = "demo_web"
"""The role of the application, which can only read and write rows."""
WITH_SCHEMA = 3
"""Number of companies that have a schema each."""
ALL = len(COMPANIES)
THREADS = 4
READS = 4
"""Number of reads of each tenant by threads, and by tasks."""


def main(
    folder: Annotated[Path, typer.Option(help="Where the server keeps its files.")] = PROJECT / ".tenantkit",
    tenants: Annotated[int, typer.Option(min=2, max=len(COMPANIES), help="How many companies take part.")] = len(
        COMPANIES
    ),
) -> None:
    """Demonstrate tenantkit on an embedded PostgreSQL."""
    display.title("tenantkit", "one PostgreSQL, tenants of three isolations, plain SQLAlchemy")
    try:
        run(folder, tenants)
    except TenantkitError as error:
        display.failed(str(error))
        raise typer.Exit(code=1) from error


def run(folder: Path, tenants: int) -> None:
    """Run the demonstration, and print its steps.

    :raises typer.Exit: if a session read rows of another tenant.
    """
    with display.step("Starting PostgreSQL") as done:
        # Not the database of `make flask`, whose data the next run must not remove.
        url, login = (embedded_database(folder, "tracker_demo", login=role) for role in (None, LOGIN))
        done(f"PostgreSQL from PyPI, in {folder.name}/")

    with (
        closing(make_tenancy(url, migrations=previous_release(folder / "demo"), grant_to=LOGIN)) as operator,
        closing(make_tenancy(login)) as tenancy,
    ):
        prepare(operator)
        taken = {tenant.key for tenant in operator.list()}
        companies = [company for company in COMPANIES if company.key not in taken][:tenants]
        isolations = dict(zip(companies, ["database", *["schema"] * WITH_SCHEMA], strict=False))
        in_threads(
            "Creating tenants", lambda company: create(operator, company, isolations.get(company, "row")), companies
        )
        password_hash = hash_password(sample.PASSWORD)
        written = in_threads("Loading their data", lambda company: load(tenancy, company, password_hash), companies)
        lend_owner(tenancy, companies[0], companies[1:3])
        asyncio.run(read_back(tenancy, login, written))

    with closing(make_tenancy(url, grant_to=LOGIN)) as operator, closing(make_tenancy(login)) as tenancy:
        deploy(operator)
        show_activity(tenancy, companies[0])
        display.tenants(survey(tenancy, status(operator)))
        read_across(tenancy.get(companies[0].key), tenancy.get(companies[1].key), tenancy)
        display.next_steps(next_steps(tenancy, companies[0]))


def previous_release(folder: Path) -> Path:
    """Return a copy of the migrations without the newest tenant revision, as in the previous release."""
    *_, newest = sorted((MIGRATIONS / "tenant").glob("*.py"))
    copy = folder / "migrations"
    shutil.rmtree(copy, ignore_errors=True)
    return shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns(newest.name, "__pycache__"))


def prepare(tenancy: Tenancy) -> None:
    """Create the shared tables, load the reference data, and remove the tenants of an earlier run."""
    with display.step("Migrating the shared tables") as done:
        tenancy.install()
        upgrade_shared(tenancy)
        let_use_shared(tenancy)
        with tenancy.shared_session() as session:
            rows = load_reference_data(session)
            session.commit()
        done(f"Shared tables with {rows} countries, currencies and languages")
    if earlier := tenancy.list(attributes=sample.ATTRIBUTES):
        in_threads("Removing an earlier run", lambda tenant: close_account(tenancy, tenant.key), earlier)
        remove_users(tenancy, earlier)


def remove_users(tenancy: Tenancy, former: Sequence[Tenant]) -> None:
    """Remove the users of *former* tenants, unless they are members of others."""
    theirs = or_(*(User.email.endswith(f"@{tenant.key}.example") for tenant in former))
    with tenancy.shared_session() as session:
        session.execute(
            delete(User).where(theirs, ~User.memberships.any()), execution_options={"synchronize_session": False}
        )
        session.commit()


def create(tenancy: Tenancy, company: Company, isolation: str = "schema") -> Tenant:
    """Create the tenant of *company*."""
    return tenancy.create(
        company.key, name=company.name, isolation=isolation, attributes={"plan": "team", **sample.ATTRIBUTES}
    )


def load(tenancy: Tenancy, company: Company, password_hash: str) -> Contents:
    """Fill the tenant of *company* with its data, and return a summary."""
    with tenancy.session(company.key) as session:
        written = sample.load(session, company, password_hash=password_hash)
        session.commit()
        return written


def lend_owner(tenancy: Tenancy, company: Company, others: Sequence[Company]) -> None:
    """Make the owner of one tenant a member of some others too."""
    for other in others:
        with tenancy.session(other.key) as session:
            owner = session.scalars(owners_of(tenancy.get(company.key))).one()
            add_member(session, owner, job_title="Consultant")
            session.commit()


def owners_of(tenant: Tenant) -> Select[User]:
    """Return a query for the users who own *tenant*."""
    return select(User).join(User.memberships).where(Membership.tenant_id == tenant.id, Membership.role == Role.OWNER)


async def read_back(tenancy: Tenancy, url: URL, written: Mapping[Company, Contents]) -> None:
    """Read every tenant several times, by concurrent threads and tasks, and compare with the written data.

    :raises typer.Exit: if a session read rows of another tenant.
    """
    async_tenancy = make_async_tenancy(url)

    def read_in_thread(company: Company) -> Contents:
        with tenancy.session(company.key) as session:
            return contents.read(session)

    async def read_in_task(company: Company) -> Contents:
        async with async_tenancy.session(company.key) as session:
            return await session.run_sync(contents.read)

    async def check(company: Company, *, task: bool) -> bool:
        seen = await (read_in_task(company) if task else asyncio.to_thread(read_in_thread, company))
        advance()
        return seen == written[company]

    try:
        with display.bar("Reading in threads and tasks", 2 * READS * len(written)) as advance:
            right = await asyncio.gather(
                *(check(company, task=task) for _ in range(READS) for company in written for task in (False, True))
            )
    finally:
        await async_tenancy.close()
    distinct = len({seen.digest for seen in written.values()})
    if not all(right) or distinct != len(written):
        display.failed(f"{right.count(False)} of {len(right)} reads had rows of other tenants.")
        raise typer.Exit(code=1)
    display.note(f"all {len(right)} reads had only rows of their own tenant")


def deploy(tenancy: Tenancy) -> None:
    """Migrate the whole fleet to the newest revision, as the deployment of a new release does."""
    with display.MigrationBar("Migrating by one revision") as progress:
        report = migrate(tenancy, progress=progress)
    first = report.outcomes[0]
    display.note(f"{first.from_revision} → {first.to_revision}: {report}")


def show_activity(tenancy: Tenancy, company: Company) -> None:
    """Close a task, and print the activity that the new release's trigger recorded."""
    with tenancy.session(company.key) as session:
        task = session.scalars(select(Task).where(Task.status == TaskStatus.IN_PROGRESS).limit(1)).one()
        boards.move_task(session, task, TaskStatus.DONE)
        activity = boards.recent_activity(session, limit=1)[0]
        display.note(
            f"the new trigger of {company.name} recorded that {task.project.key}-{task.number} was {activity.action}"
        )
        session.commit()


def survey(tenancy: Tenancy, found: FleetStatus) -> list[display.Row]:
    """Return a table row for every tenant."""
    revisions = {(place.database, place.schema): place.revision or "none" for place in found.placements}
    return [
        describe(tenancy, tenant, revisions[tenant.placement.database, tenant.placement.schema])
        for tenant in tenancy.list()
    ]


_SIZE = text(
    "SELECT sum(pg_total_relation_size(oid)) / 1024 FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = to_regnamespace(quote_ident(:schema))"
)


def describe(tenancy: Tenancy, tenant: Tenant, revision: str) -> display.Row:
    """Return the table row of one tenant."""
    with tenancy.session(tenant, any_status=True) as session:
        is_common = tenant.isolation == "row"
        return display.Row(
            key=tenant.key,
            name=tenant.name,
            isolation=tenant.isolation,
            revision=revision,
            rows=contents.count_rows(session),
            kilobytes=None if is_common else int(session.scalar(_SIZE, {"schema": tenant.schema}) or 0),
        )


def read_across(ours: Tenant, theirs: Tenant, tenancy: Tenancy) -> None:
    """Try to use one tenant's session while another tenant is current.

    :raises typer.Exit: if it works.
    """
    with tenant_context(ours), tenancy.session() as session:
        try:
            with tenant_context(theirs):
                session.scalars(select(Task)).all()
        except TenantMismatchError as error:
            display.refused(f"Reading tasks with the session of {ours.key}, while {theirs.key} is served:", error)
        else:
            display.failed("A session served two tenants.")
            raise typer.Exit(code=1)


def next_steps(tenancy: Tenancy, company: Company) -> str:
    """Return the next steps, with a user who can log in."""
    tenant = tenancy.get(company.key)
    with tenancy.shared_session() as session:
        owner = session.scalars(owners_of(tenant)).one()
    return (
        f"[bold]make flask[/bold]    the tracker as HTML pages, at http://{tenant.key}.localhost:8000\n"
        f"[bold]make fastapi[/bold]  the tracker as a JSON API, at http://{tenant.key}.localhost:8000/docs\n"
        f"log in as [bold]{owner.email}[/bold] with the password [bold]{sample.PASSWORD}[/bold]"
    )


Item = TypeVar("Item", Company, Tenant)


def in_threads(title: str, work: Callable[[Item], Result], items: Sequence[Item]) -> dict[Item, Result]:
    """Return the results of *work* for each item, with several threads and a progress bar."""
    with display.bar(title, len(items)) as advance, ThreadPoolExecutor(THREADS) as pool:
        futures = {pool.submit(work, item): item for item in items}
        results: dict[Item, Result] = {}
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            advance()
    return results


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()

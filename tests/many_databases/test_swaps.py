"""A tenant and its copy in another database than the registry are swapped in several transactions."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import URL, Connection, Engine, event, select

from tenantkit import ProvisioningError, Tenancy, TenantMovedError, transfer
from tenantkit.isolation import fence
from tenantkit.lifecycle import swap
from tenantkit.lifecycle.operation import operating
from tenantkit.lifecycle.swapping import settle
from tests.isolation.two_databases import Note, dying, make_sync


def notes(tenancy: Tenancy, key: str) -> list[str]:
    with tenancy.session(key, any_status=True) as session:
        return sorted(session.scalars(select(Note.text)))


def write(tenancy: Tenancy, key: str, text: str) -> None:
    with tenancy.session(key, any_status=True) as session:
        session.add(Note(id=max(session.scalars(select(Note.id))) + 1, text=text))
        session.commit()


@pytest.fixture
def copied(pair: Tenancy, tmp_path: Path) -> Tenancy:
    """The tenant ``berta`` with a note more than its copy ``berta-restored``."""
    transfer.backup(pair, "berta", tmp_path / "berta.tenant")
    write(pair, "berta", "later")
    transfer.restore(pair, tmp_path / "berta.tenant")
    return pair


@pytest.mark.all_cases
@pytest.mark.parametrize("recovery", ["repeat", "repair"])
def test_after_a_kill_at_any_commit_the_swap_is_finished(copied: Tenancy, recovery: str) -> None:
    ours = {"t_berta": ["berta", "later"], "t_berta-restored": ["berta"]}
    states = []
    for number in count(1):
        commits = count(1)
        before = copied.get("berta").schema
        back = before != "t_berta"
        with ExitStack() as dead, suppress(SystemExit):
            for name in ("main", "eu"):
                dead.enter_context(
                    dying(copied.databases.engine(name), "commit", lambda *_, n=number, c=commits: next(c) == n)
                )
            swap(copied, "berta", "berta-restored", back=back)
        ended = next(commits) <= number
        copied.cache.clear()
        found = [finding.repair for finding in copied.diagnose() if finding.repair is not None]
        with suppress(TenantMovedError):  # while it is unfinished
            write(copied, "berta", "meanwhile")
            ours[copied.get("berta").schema] = sorted([*ours[copied.get("berta").schema], "meanwhile"])
        states.append((found, copied.get("berta").schema == before))
        assert found in ([], ["finish the swap"])
        if recovery == "repair":
            copied.repair()
        if not found:
            if copied.get("berta").schema == before:
                swap(copied, "berta", "berta-restored", back=back)
        elif recovery == "repeat":
            swap(copied, "berta", "berta-restored")
        assert copied.get("berta").schema != before
        assert [finding.repair for finding in copied.diagnose()] == [None]
        write(copied, "berta", f"after {number}")
        ours[copied.get("berta").schema] = sorted([*ours[copied.get("berta").schema], f"after {number}"])
        with pytest.raises(TenantMovedError):
            write(copied, "berta-restored", "x")
        for key in ("berta", "berta-restored"):
            assert notes(copied, key) == ours[copied.get(key).schema]
        if ended:
            break
    assert ([], True) in states
    assert (["finish the swap"], True) in states
    assert ([], False) in states
    copied.drop("berta-restored")
    assert copied.diagnose() == []


def test_a_swap_that_cannot_take_the_copy_leaves_the_tenant_as_it_was(copied: Tenancy, eu: Engine) -> None:
    swap(copied, "berta", "berta-restored")
    with eu.connect() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM t_berta.note")
        with pytest.raises(ProvisioningError, match="in use for 0 s"):
            swap(copied, "berta", "berta-restored", back=True, patience=0)
    write(copied, "berta", "after")
    assert notes(copied, "berta") == ["after", "berta"]
    assert [finding.repair for finding in copied.diagnose()] == [None]
    assert swap(copied, "berta", "berta-restored", back=True).tenant.schema == "t_berta"


@contextmanager
def failing_on_tables_of(tenancy: Tenancy, schema: str, statement: str) -> Generator[None]:
    """Let a statement on the tables of *schema* in the database ``eu`` fail as one for which there is no privilege."""

    def fail(connection: Connection, _cursor: object, sql: str, *_: object) -> None:
        if sql.startswith(statement) and f'"{schema}".' in sql:
            connection.exec_driver_sql("SET LOCAL ROLE pg_monitor")

    engine = tenancy.databases.engine("eu")
    event.listen(engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", fail)


def test_after_an_error_of_the_server_the_tenant_can_be_written_to(copied: Tenancy) -> None:
    swap(copied, "berta", "berta-restored")
    with failing_on_tables_of(copied, "t_berta", "LOCK"), pytest.raises(ProvisioningError, match="permission denied"):
        swap(copied, "berta", "berta-restored", back=True)
    write(copied, "berta", "after")
    assert [finding.repair for finding in copied.diagnose()] == [None]
    assert swap(copied, "berta", "berta-restored", back=True).tenant.schema == "t_berta"


def test_a_copy_in_an_unfinished_swap_is_not_swapped_with_others(copied: Tenancy) -> None:
    commits = count(1)
    with dying(copied.databases.engine("eu"), "commit", lambda *_: next(commits) == 3), pytest.raises(SystemExit):
        swap(copied, "berta", "berta-restored")
    with pytest.raises(ProvisioningError, match="another swap of 'berta-restored'"):
        swap(copied, "acme", "berta-restored")
    copied.repair()
    assert (notes(copied, "berta"), notes(copied, "acme")) == (["berta"], ["acme"])


def test_a_doctor_that_began_before_a_swap_does_not_open_the_tables(copied: Tenancy, urls: tuple[URL, URL]) -> None:
    paused, goes_on = Event(), Event()

    def pause(connection: Connection) -> None:
        if not paused.is_set() and fenced(connection):
            paused.set()
            assert goes_on.wait(60)

    def begin(_: Connection) -> None:
        if swapping.ident is None:
            event.listen(copied.databases.engine("eu"), "begin", pause)
            swapping.start()
            assert paused.wait(60)

    def fenced(connection: Connection) -> bool:
        return "t_berta" in fence.fenced_schemas(connection)

    with closing(make_sync(*urls, migrations=copied.migrations)) as doctor:
        swapping = Thread(target=swap, args=(copied, "berta", "berta-restored"))
        event.listen(doctor.engine, "commit", begin)
        try:
            with operating(doctor) as connection:
                settle(doctor, connection, "berta")
            with doctor.databases.engine("eu").connect() as connection:
                assert fenced(connection)
        finally:
            goes_on.set()
            swapping.join()
    assert notes(copied, "berta") == ["berta"]
    assert [finding.repair for finding in copied.diagnose()] == [None]


def test_a_swap_that_is_given_up_leaves_both_with_their_own_tables(copied: Tenancy) -> None:
    commits = count(1)
    with dying(copied.databases.engine("eu"), "commit", lambda *_: next(commits) == 4), pytest.raises(SystemExit):
        swap(copied, "berta", "berta-restored")
    copied.resume("berta-restored")
    with pytest.raises(ProvisioningError, match="'berta-restored' is active"):
        copied.repair()
    for key, own in (("berta", ["again", "berta", "later"]), ("berta-restored", ["again", "berta"])):
        write(copied, key, "again")
        assert notes(copied, key) == own
    assert copied.diagnose() == []

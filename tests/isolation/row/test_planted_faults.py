"""Faults planted in the library or in the database are caught by the checks that the other tests are made of."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine, delete, literal_column, select, text, update
from sqlalchemy.exc import DBAPIError

from tenantkit import Tenancy
from tenantkit.isolation.binding import Binding
from tenantkit.sessions import row_criterion, transactions
from tests.isolation import faults
from tests.isolation.row.conftest import APP, as_role
from tests.isolation.row.models import APPLICATION, Tag

pytestmark = pytest.mark.each_value

KEYS = ("acme", "berta", "corp")


@pytest.fixture
def tenancy(pair_url: Any) -> Generator[Tenancy]:
    """The application's, with one tag in each tenant, whose name is the tenant's."""
    with closing(Tenancy(as_role(pair_url, APP), **APPLICATION, listen=False)) as tenancy:
        for key in KEYS:
            with tenancy.session(key) as session:
                session.add(Tag(id=1, name=key))
                session.commit()
        yield tenancy


def check_reads(tenancy: Tenancy) -> None:
    for key in KEYS:
        with tenancy.session(key) as session:
            assert session.scalars(select(Tag.name)).all() == [key]


def check_text(tenancy: Tenancy) -> None:
    for key in KEYS:
        with tenancy.session(key) as session:
            assert session.execute(text("SELECT name FROM tag")).scalars().all() == [key]


def check_writes(tenancy: Tenancy) -> None:
    for key in KEYS:
        with tenancy.session(key) as session:
            for statement in (update(Tag).values(name=key), delete(Tag)):
                result: Any = session.execute(statement)
                assert result.rowcount == 1


def check_values(tenancy: Tenancy) -> None:
    berta = tenancy.get("berta").id
    for statement in (f"INSERT INTO tag VALUES (9, 'x', {berta})", f"UPDATE tag SET tenant_id = {berta}, id = 9"):
        with tenancy.session("acme") as session, pytest.raises(DBAPIError, match="row-level security"):
            session.execute(text(statement))


def check_no_tenant(tenancy: Tenancy) -> None:
    with tenancy.engine.connect() as connection, pytest.raises(DBAPIError, match="no tenant is set"):
        connection.exec_driver_sql("SELECT * FROM rows.tag")


def check_settings(tenancy: Tenancy) -> None:
    for key in KEYS:
        assert all(statement.startswith("SET LOCAL ") for statement in tenancy.binding(key).head)


def check_compiled_once(tenancy: Tenancy) -> None:
    counts: list[int] = []
    for key in ("acme", "berta"):
        with tenancy.session(key) as session:
            assert session.scalars(select(Tag.name).where(Tag.id == 1)).all() == [key]
        counts.append(len(tenancy.engine._compiled_cache or ()))
    assert counts[0] == counts[1]


CHECKS = (check_reads, check_text, check_writes, check_values, check_no_tenant, check_settings, check_compiled_once)


def _sql(statement: str) -> Callable[[Engine, pytest.MonkeyPatch], None]:
    def plant(engine: Engine, _patch: pytest.MonkeyPatch) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)

    return plant


def _without_row_security(engine: Engine) -> None:
    _sql("ALTER TABLE rows.tag DISABLE ROW LEVEL SECURITY")(engine, pytest.MonkeyPatch())


def _criterion_removed(engine: Engine, patch: pytest.MonkeyPatch) -> None:
    _without_row_security(engine)
    faults.without_criteria(patch)


def _value_of_the_first(engine: Engine, patch: pytest.MonkeyPatch) -> None:
    with engine.connect() as connection:
        first = connection.exec_driver_sql("SELECT id FROM tenantkit.tenants WHERE key = 'acme'").scalar_one()
    original = row_criterion._RowCompiler._criterion

    def criterion(self: Any, source: Any) -> Any:
        made: Any = original(self, source)
        return made.left == literal_column(str(first))

    patch.setattr(row_criterion._RowCompiler, "_criterion", criterion)


def _one_dialect_for_all(_engine: Engine, patch: pytest.MonkeyPatch) -> None:
    faults.with_one_dialect(patch)


def _session_wide(_engine: Engine, patch: pytest.MonkeyPatch) -> None:
    original = Binding.__post_init__

    def derive(self: Binding) -> None:
        original(self)
        object.__setattr__(self, "head", tuple(each.replace("SET LOCAL", "SET") for each in self.head))

    patch.setattr(Binding, "__post_init__", derive)


def _literal(_engine: Engine, patch: pytest.MonkeyPatch) -> None:
    original = row_criterion.row_dialect

    def make(connection: Any, binding: Any) -> Any:
        if binding is not None and binding.column is not None:
            vars(connection.engine.dialect).pop("tenantkit_row_dialects", None)
        return original(connection, binding)

    patch.setattr(transactions, "row_dialect", make)


FAULTS: dict[str, tuple[Callable[[Engine, pytest.MonkeyPatch], None], set[Any]]] = {
    "policy without WITH CHECK": (_sql("ALTER POLICY tenantkit ON rows.tag WITH CHECK (true)"), {check_values}),
    "policy for all": (
        _sql("ALTER POLICY tenantkit ON rows.tag USING (true)"),
        {check_text, check_no_tenant},
    ),
    "further policy": (
        _sql("CREATE POLICY more ON rows.tag USING (true)"),
        {check_text, check_no_tenant, check_values},
    ),
    "row security disabled": (
        _sql("ALTER TABLE rows.tag DISABLE ROW LEVEL SECURITY"),
        {check_text, check_values, check_no_tenant},
    ),
    "silent policy": (
        _sql(
            "ALTER POLICY tenantkit ON rows.tag USING (tenant_id = nullif(current_setting('tenantkit.tenant', true), '')::bigint)"
        ),
        {check_no_tenant},
    ),
    "criterion removed": (
        _criterion_removed,
        {check_reads, check_writes, check_text, check_values, check_no_tenant, check_compiled_once},
    ),
    "value of the first tenant": (_value_of_the_first, {check_reads, check_writes, check_compiled_once}),
    "one dialect for all": (_one_dialect_for_all, {check_reads, check_writes}),
    "setting of the session": (_session_wide, {check_settings}),
    "a dialect for each session": (_literal, {check_compiled_once}),
}


@pytest.mark.parametrize("check", CHECKS)
def test_without_a_fault_all_checks_pass(tenancy: Tenancy, check: Callable[[Tenancy], None]) -> None:
    check(tenancy)
    check(tenancy)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(tenancy: Tenancy, engine: Engine, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    plant, expected = FAULTS[fault]
    plant(engine, monkeypatch)
    tenancy._bindings.clear()
    vars(tenancy.engine.dialect).pop("tenantkit_row_dialects", None)
    caught: set[Any] = set()
    for check in CHECKS:
        try:
            check(tenancy)
        except (AssertionError, DBAPIError, pytest.fail.Exception):
            caught.add(check)
    assert caught == expected

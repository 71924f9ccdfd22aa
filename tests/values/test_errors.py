"""Errors keep their text and attributes when they are pickled or copied."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

import pytest

import tenantkit
from tenantkit import (
    AdoptionError,
    BackupError,
    ConfigurationError,
    CrossDatabaseError,
    DomainExistsError,
    DrainError,
    IllegalTransitionError,
    InvalidDomainError,
    InvalidTenantKeyError,
    MigrationError,
    NoCurrentTenantError,
    ProvisioningError,
    RawSQLForbiddenError,
    SchemaRenameError,
    Status,
    TenantExistsError,
    TenantkitError,
    TenantMismatchError,
    TenantMovedError,
    TenantNotFoundError,
    TenantReadOnlyError,
    TenantUnavailableError,
)
from tenantkit.adoption import AdoptedSchema, Adoption
from tenantkit.migrations import MigrationReport, Outcome
from tests.values.raising import fail

OUTCOME = Outcome(
    key="acme", schema="t_acme", from_revision="0001", to_revision="0001", sqlstate="23505", error="no: 5 % off"
)
REPORT = MigrationReport(
    run_id=7,
    command="migrate",
    target="head",
    shared=None,
    outcomes=(OUTCOME,),
    unchanged=3,
    not_replayed={"reads": 1},
)
PLAN = Adoption(
    database="main",
    schemas=(
        AdoptedSchema(
            schema="50% org", key=None, revision=None, is_stamped=False, differences=(), obstacles=("no key",) * 7
        ),
    ),
    before=(),
    alike=(),
    shared_tables=("shared.country",),
    tenant_tables=("task",),
    missing=(),
)
ERRORS: list[TenantkitError] = [
    TenantkitError("what {went} %s wrong"),
    ConfigurationError("a", "b"),
    InvalidTenantKeyError("Acme", "it has upper-case letters"),
    InvalidTenantKeyError(7, "it is an int, not a string"),
    InvalidDomainError("a b"),
    NoCurrentTenantError(),
    TenantMismatchError("acme", None),
    TenantMismatchError("acme", "beta", instance="<Note 1>"),
    TenantMismatchError("acme", None, schema="t_beta"),
    TenantNotFoundError(key="acme"),
    TenantNotFoundError(domain="acme.example.com"),
    TenantExistsError("acme"),
    DomainExistsError("acme.example.com"),
    TenantUnavailableError("acme", Status.SUSPENDED),
    TenantUnavailableError("acme", Status.MAINTENANCE, message="50 % done.", until=datetime(2030, 1, 31, tzinfo=UTC)),
    TenantReadOnlyError("acme", Status.READ_ONLY, message="Moving"),
    DrainError("acme", Status.SUSPENDED, [7], ["process 7, which may work for another tenant", "a prepared one"], [8]),
    TenantMovedError("acme", Status.ACTIVE),
    CrossDatabaseError("acme", "eu", "No statement reaches both"),
    TenantUnavailableError("acme", "archived", "this version does not know its status"),
    IllegalTransitionError("acme", Status.DROPPING, Status.ACTIVE),
    RawSQLForbiddenError("acme"),
    RawSQLForbiddenError("acme", "Say it otherwise."),
    ProvisioningError("acme", "seeding", "KeyError: 'x'"),
    SchemaRenameError("t_acme", "the name is text in the body of f()"),
    SchemaRenameError("t_acme", "a migration is at work", "55P03"),
    BackupError("/backups/acme.tenant", "it is truncated", "Use another copy."),
    MigrationError(REPORT),
    AdoptionError(PLAN),
]


def _plain_kinds() -> Iterator[type[TenantkitError]]:
    """The other classes of errors in the package, which take a text."""
    for module in pkgutil.walk_packages(tenantkit.__path__, "tenantkit."):
        if not module.name.endswith("__main__") and ".templates" not in module.name:
            importlib.import_module(module.name)
    waiting = [TenantkitError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith("tenantkit") and kind not in {type(error) for error in ERRORS}:
            yield kind


ERRORS += [kind("what {went} %s wrong") for kind in _plain_kinds()]
WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {n}": lambda each, n=n: pickle.loads(pickle.dumps(each, n)) for n in range(6)},  # noqa: S301
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def _assert_same(found: BaseException, error: TenantkitError) -> None:
    assert type(found) is type(error)
    assert (str(found), repr(found), found.args, vars(found)) == (str(error), repr(error), error.args, vars(error))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_pickled_or_copied_error_has_its_text_and_attributes(way: Callable[[Any], Any]) -> None:
    for original in ERRORS:
        error = way(original)
        _assert_same(error, original)
        error.add_note("in job 5")
        _assert_same(way(error), error)


def test_an_error_constructed_from_its_args_has_the_same_text() -> None:
    for error in ERRORS:
        _assert_same(type(error)(*error.args), error)


def test_every_error_is_returned_from_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for error in ERRORS:
            found = pool.submit(fail, error).exception(timeout=60)
            assert found is not None
            _assert_same(found, error)


def test_the_error_of_a_migration_is_returned_with_its_report() -> None:
    found = pickle.loads(pickle.dumps(MigrationError(REPORT)))  # noqa: S301
    assert found.report == REPORT
    assert found.report.failure_groups == REPORT.failure_groups


def test_an_applications_subclass_with_further_arguments_is_returned_too() -> None:
    found = pickle.loads(pickle.dumps(QuotaError("acme", limit=3)))  # noqa: S301
    assert (str(found), found.limit) == ("acme has 3 already", 3)


class QuotaError(TenantkitError):
    def __init__(self, key: str, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{key} has {limit} already")

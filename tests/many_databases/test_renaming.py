"""The schema of a tenant in another database than the registry is renamed in two transactions."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from itertools import count

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import ProgrammingError

from tenantkit import Tenancy, TenantNotFoundError
from tenantkit.adoption import adopt, release
from tenantkit.lifecycle import rename
from tests.isolation.two_databases import Note, dying


def notes(tenancy: Tenancy, key: str) -> list[str]:
    with tenancy.session(key) as session:
        return list(session.scalars(select(Note.text)))


def schemas(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.exec_driver_sql("SELECT nspname FROM pg_namespace WHERE nspname ~ '^t_'").scalars())


@pytest.fixture
def decoys(main: Engine, pair: Tenancy) -> None:
    """A schema in the main database for each name that the tenant's schema in the other one has or gets."""
    with main.begin() as connection:
        connection.exec_driver_sql(
            "CREATE SCHEMA t_clara; CREATE TABLE t_clara.note AS SELECT 1 AS id, 'decoy' AS text"
        )


@pytest.mark.usefixtures("decoys")
def test_a_schema_in_another_database_is_renamed_there(pair: Tenancy, main: Engine, eu: Engine) -> None:
    assert rename(pair, "berta", "clara", schema=True).tenant.placement.database == "eu"
    assert (schemas(main), schemas(eu)) == ({"t_acme", "t_berta", "t_clara"}, {"t_acme", "t_clara"})
    assert notes(pair, "clara") == ["berta"]
    assert pair.diagnose() == []


def test_schemas_in_another_database_are_adopted_and_released_there(pair: Tenancy, main: Engine, eu: Engine) -> None:
    release(pair, "berta")
    assert (schemas(eu), pair.diagnose()) == ({"t_acme", "t_berta"}, [])
    adoption = adopt(pair, "t_b%", key_from="t_(.*)", database="eu")
    assert [(each.key, each.revision, each.is_stamped) for each in adoption.schemas] == [("berta", "r1", False)]
    assert (pair.get("berta").placement.database, notes(pair, "berta")) == ("eu", ["berta"])
    assert pair.diagnose() == []


@pytest.mark.all_cases
@pytest.mark.parametrize("verb", ["adopt", "release"])
def test_after_a_kill_between_two_commits_an_adoption_and_a_release_can_be_repeated(pair: Tenancy, verb: str) -> None:
    works = {
        "adopt": lambda: adopt(pair, "t_berta", key_from="t_(.*)", database="eu"),
        "release": lambda: release(pair, "berta"),
    }
    for number in count(1):
        if verb == "adopt":
            with suppress(TenantNotFoundError):
                release(pair, "berta")
        commits = count(1)
        with ExitStack() as dead, suppress(SystemExit):
            for name in ("main", "eu"):
                dead.enter_context(
                    dying(pair.databases.engine(name), "commit", lambda *_, n=number, c=commits: next(c) == n)
                )
            works[verb]()
        ended = next(commits) <= number
        with suppress(TenantNotFoundError):
            works[verb]()
        assert [tenant.key for tenant in pair.list()] == (["acme", "berta"] if verb == "adopt" else ["acme"])
        assert pair.diagnose() == []
        if verb == "release":
            works["adopt"]()
        if ended:
            break
    assert number > 2
    assert notes(pair, "berta") == ["berta"]


@pytest.mark.usefixtures("decoys")
@pytest.mark.parametrize("recovery", ["repeat", "repair"])
def test_after_a_kill_at_any_commit_sessions_fail_closed_and_the_rename_is_done_or_not(
    pair: Tenancy, main: Engine, eu: Engine, recovery: str
) -> None:
    states: list[tuple[str, bool]] = []
    for number in count(1):
        commits = count(1)
        with ExitStack() as dead, suppress(SystemExit):
            for name in ("main", "eu"):
                dead.enter_context(
                    dying(pair.databases.engine(name), "commit", lambda *_, n=number, c=commits: next(c) == n)
                )
            rename(pair, "berta", "clara", schema=True)
        ended = next(commits) <= number
        pair.cache.clear()
        [tenant] = [each for each in pair.list() if each.key != "acme"]
        is_there = tenant.schema in schemas(eu)
        states.append((tenant.key, is_there))
        if is_there:
            assert notes(pair, tenant.key) == ["berta"]
        else:
            with pytest.raises(ProgrammingError, match="does not exist"):
                notes(pair, tenant.key)
            assert [(each.subject, each.repair) for each in pair.diagnose()] == [("berta", "name it 't_berta' again")]
        if recovery == "repeat":
            assert rename(pair, "berta", "clara", schema=True).tenant.key == "clara"
        else:
            pair.repair()
        [tenant] = [each for each in pair.list() if each.key != "acme"]
        assert (tenant.key, tenant.schema) in {("berta", "t_berta"), ("clara", "t_clara")}
        assert schemas(eu) == {"t_acme", tenant.schema}
        assert notes(pair, tenant.key) == ["berta"]
        assert pair.diagnose() == []
        if tenant.key == "clara":
            rename(pair, "clara", "berta", schema=True)
        if ended:
            break
    assert {("berta", True), ("berta", False), ("clara", True)} == {*states}

"""A process that swaps a tenant is killed at each statement: the tenant is as before, or swapped."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from sqlalchemy import Engine, select

from tenantkit import ProvisioningError, Tenancy, TenantMovedError
from tenantkit.lifecycle import swap
from tests.support import processes
from tests.support.catalog import fingerprint, mark_copy
from tests.support.models import Project
from tests.support.processes import until_alone, worker


def write(tenancy: Tenancy, key: str, name: str) -> str:
    with tenancy.session(key, any_status=True) as session:
        session.add(Project(name=name))
        session.commit()
        return session.tenant.schema


def test_after_a_kill_at_any_statement_a_swap_is_done_or_not(
    tenancy: Tenancy, engine: Engine, dose: Callable[[int, int], int]
) -> None:
    for key in ("acme", "acme-copy", "beta"):
        tenancy.create(key)
        write(tenancy, key, key)
    tenancy.suspend("acme-copy")
    mark_copy(tenancy, "acme", "acme-copy")
    before = fingerprint(engine, "t_beta")
    for number in count(1, dose(19, 4)):
        with worker(engine.url, processes.swap, "acme", stop_at=number) as victim:
            answer = victim.wait()
            victim.kill()
        until_alone(engine)
        tenancy.cache.clear()
        listed = [finding.subject for finding in tenancy.diagnose()]
        if answer == "stopped":  # the transaction was rolled back
            assert listed == []
            assert write(tenancy, "acme", f"acme {number}") == "t_acme"
            swap(tenancy, "acme", "acme-copy")
        else:
            assert listed == ["acme-copy"]
            with pytest.raises(ProvisioningError, match="to swap back to them"):
                swap(tenancy, "acme", "acme-copy")
        assert write(tenancy, "acme", f"copy {number}") == "t_acme-copy"
        with pytest.raises(TenantMovedError):
            write(tenancy, "acme-copy", "x")
        assert fingerprint(engine, "t_beta") == before
        if answer != "stopped":
            assert number > 10, "the work ended before it had begun"
            break
        swap(tenancy, "acme", "acme-copy", back=True)
        # The copy has been served: it is one that was restored again.
        with engine.begin() as connection:
            for table in ("project", "task"):
                connection.exec_driver_sql(f'DROP TRIGGER tenantkit_fence ON "t_acme-copy".{table}')
    with tenancy.session("acme-copy", any_status=True) as session:
        assert {name.split()[0] for name in session.scalars(select(Project.name))} == {"acme"}

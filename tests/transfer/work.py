"""Work of other processes, which are killed in the middle of it."""

from __future__ import annotations

import pytest

from tenantkit import Tenancy, transfer
from tenantkit.transfer import filling
from tests.support.models import Project, Task


def back_up(tenancy: Tenancy, path: str) -> str:
    """Back up the tenant ``acme``."""
    return transfer.backup(tenancy, "acme", path, compression="none").key


def restore(tenancy: Tenancy, path: str) -> str:
    """Restore it as ``beta``."""
    return transfer.restore(tenancy, path, key="beta").tenant.key


def clone(tenancy: Tenancy, _path: str) -> str:
    """Clone the tenant ``acme`` as ``beta``."""
    return transfer.clone(tenancy, "acme", as_="beta").tenant.key


def clone_in_steps(tenancy: Tenancy, _path: str) -> str:
    """Clone it in several transactions, as functions for its rows need it."""
    same = transfer.Transform(rows={Project: lambda row: row}, columns={Task.title: str.strip})
    return transfer.clone(tenancy, "acme", as_="beta", transform=same).tenant.key


def restore_in_steps(tenancy: Tenancy, path: str) -> str:
    """Restore it as ``beta`` in several transactions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling, "IN_ONE_TRANSACTION", 0)
        return restore(tenancy, path)

"""A restored tenant has what was backed up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tenantkit import Status, Tenancy, transfer
from tenantkit.transfer.compression import Compression

Fill = Callable[..., None]
Read = Callable[[Tenancy, str], list[tuple[int, str, list[str]]]]


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_tenant_is_restored_under_another_key(
    tenancy: Tenancy, tmp_path: Path, compression: Compression, fill: Fill, read: Read
) -> None:
    tenancy.create("acme", name="Acme", attributes={"plan": {"name": "pro"}}, domains=["acme.example.com"])
    fill(tenancy, "acme", "one", "two")
    made = transfer.backup(tenancy, "acme", tmp_path / "acme.tenant", compression=compression)
    assert made == transfer.verify(tmp_path / "acme.tenant")
    assert (made.rows, made.tables["project"], made.compression) == (4, 2, compression)

    restored = transfer.restore(tenancy, tmp_path / "acme.tenant", key="beta")
    assert (restored.tenant.key, restored.tenant.name, restored.tenant.status) == ("beta", "Acme", Status.ACTIVE)
    assert restored.tenant.attributes == {"plan": {"name": "pro"}}
    assert restored.plan.domains_left_out == ("acme.example.com",)
    assert read(tenancy, "beta") == read(tenancy, "acme")
    fill(tenancy, "beta", "three")
    assert [number for number, *_ in read(tenancy, "beta")] == [1, 2, 3]
    assert tenancy.diagnose() == []

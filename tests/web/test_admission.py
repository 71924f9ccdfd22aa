"""Admission and refusals, decided without a server."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tenantkit import ConfigurationError, Placement, Status, Tenancy, Tenant
from tenantkit.web import session_cookies
from tenantkit.web.admission import SharedPaths, refusal_of
from tests.support.models import APPLICATION

ISOLATIONS = Tenancy("postgresql://localhost/nobody-connects", listen=False, **APPLICATION).isolations


def tenant(status: Status = Status.ACTIVE, number: int = 1) -> Tenant:
    now = datetime.now(UTC)
    placement = Placement("main", "t_acme")
    return Tenant(
        id=number, key="acme", name="Acme", status=status, placement=placement, created_at=now, updated_at=now
    )


def test_only_an_active_or_read_only_tenant_is_served() -> None:
    served = [status for status in Status if refusal_of(ISOLATIONS, tenant(status)) is None]
    assert served == [Status.ACTIVE, Status.READ_ONLY]


@pytest.mark.parametrize("status", [Status.PROVISIONING, Status.SUSPENDED, Status.MAINTENANCE])
def test_a_temporarily_unavailable_tenant_is_a_503_with_retry_after(status: Status) -> None:
    unavailable = tenant(status)
    refusal = refusal_of(ISOLATIONS, unavailable)
    assert refusal is not None
    assert (refusal.status, refusal.tenant) == (503, unavailable)
    assert int(refusal.headers["retry-after"]) > 0


def test_a_failed_or_dropped_tenant_is_refused_as_unknown() -> None:
    unknown = refusal_of(ISOLATIONS, None)
    assert unknown is not None
    assert unknown.status == 404
    assert "retry-after" not in unknown.headers
    assert refusal_of(ISOLATIONS, tenant(Status.FAILED)) == refusal_of(ISOLATIONS, tenant(Status.DROPPING)) == unknown


def test_shared_paths_are_exact_or_prefixes_of_folders() -> None:
    shared = SharedPaths(["/", "/login", "/static/*"])
    assert [path for path in ("/", "/login", "/static/", "/static/a/b.css") if path not in shared] == []
    for path in ("", "/login/", "/login2", "/static", "/statically", "//static/", "/LOGIN", "/x/login"):
        assert path not in shared
    assert "/" not in SharedPaths([])
    assert "/anything" in SharedPaths(["/*"])


@pytest.mark.parametrize("patterns", [["login"], ["/a*"], ["/*/b"], ["/a/**"], [""], ["*"], "/login"])
def test_an_ambiguous_shared_path_is_refused(patterns: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="shared"):
        SharedPaths(patterns)


def test_a_bound_session_is_refused_by_every_other_tenant_also_by_the_next_with_the_same_key() -> None:
    session: dict[str, object] = {}
    assert not session_cookies.is_bound(session, tenant())
    session_cookies.bind(session, tenant())
    assert session_cookies.is_bound(session, tenant(Status.SUSPENDED))
    assert not session_cookies.is_bound(session, tenant(number=2))
    session_cookies.bind(session, tenant(number=2))
    assert not session_cookies.is_bound(session, tenant())

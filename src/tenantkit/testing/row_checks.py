"""A check of rows as sessions load them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Mapper, object_session
from sqlalchemy.orm.base import instance_str

from tenantkit.arguments import FUNCTION, instance, require
from tenantkit.sessions.session import TenantSession
from tenantkit.testing.canaries import Canaries, Canary
from tenantkit.testing.models import text_of
from tenantkit.testing.report import LeakError


def _refuse(message: str, _canary: Canary) -> None:
    raise LeakError(message)


@contextmanager
def tripwire(
    canaries: Canaries,
    *,
    served: Callable[[], str | None] = lambda: None,
    on_leak: Callable[[str, Canary], object] = _refuse,
) -> Generator[None]:
    """Fail at once, during a block, if a tenant's session loads an object with a canary of another tenant.

    :param served: returns the key of the tenant that is served, which must then be the session's, too.
    :param on_leak: called with a description of the leak, instead of raising `LeakError`.
    """
    require(
        canaries=(canaries, instance(Canaries, "Canaries, which plant() returns")),
        served=(served, FUNCTION),
        on_leak=(on_leak, FUNCTION),
    )

    def check(session: Any, instance: object) -> None:
        if not isinstance(session, TenantSession):
            return
        own = served() or session.tenant.key
        if found := canaries.of_others(text_of(instance), own):
            message = f"A session of {session.tenant.key} loaded {instance_str(instance)} while {own} was served: "
            on_leak(f"{message}its {found[0].place} is {found[0].tenant}'s.", found[0])

    def refreshed(instance: object, *_: Any) -> None:
        check(object_session(instance), instance)

    event.listen(TenantSession, "loaded_as_persistent", check)
    event.listen(Mapper, "refresh", refreshed)
    try:
        yield
    finally:
        event.remove(Mapper, "refresh", refreshed)
        event.remove(TenantSession, "loaded_as_persistent", check)

"""Differences between SQLAlchemy 2.0 and 2.1, which no other module depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import ColumnElement, Engine
from sqlalchemy.orm import Session, identity
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

IS_2_0 = sqlalchemy.__version__.startswith("2.0.")


class _Session(Session):
    """A session with the execution options of 2.1's `Session`, by an engine that has them."""

    execution_options: Any

    def __init__(
        self,
        bind: Engine | Connection | None = None,
        *,
        execution_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(bind=bind, **options)  # by keyword: the next class may be another library's
        self.execution_options = dict(execution_options or {})
        self._engines: dict[Engine, Engine] = {}

    @override
    def get_bind(self, mapper: Any = None, **arguments: Any) -> Engine | Connection:
        """Return the same engine each time: for `Session`, another engine is another transaction."""
        bind = super().get_bind(mapper, **arguments)
        if not isinstance(bind, Engine):
            return bind
        if bind not in self._engines:
            self._engines[bind] = bind.execution_options(**self.execution_options)
        return self._engines[bind]


if TYPE_CHECKING or not IS_2_0:
    OptionsSession = Session
    WeakInstanceDict = identity._WeakInstanceDict  # noqa: SLF001 - the name of 2.0 was public
else:
    OptionsSession = _Session
    WeakInstanceDict = identity.WeakInstanceDict


def distinct_on(statement: Any, *columns: ColumnElement[Any]) -> Any:
    """Return *statement*, a `select()`, with DISTINCT ON *columns*."""
    if IS_2_0:
        return statement.distinct(*columns)
    from sqlalchemy.dialects.postgresql import distinct_on as of_2_1  # noqa: PLC0415 - 2.0 does not have it

    return statement.ext(of_2_1(*columns))

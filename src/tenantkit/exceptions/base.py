"""The base of all errors, and that of a wrong configuration."""

from __future__ import annotations

from typing import Any

from typing_extensions import override


def as_clause(message: object) -> str:
    """Return the text of *message*, often another library's error, on one line and without punctuation at its end.

    It can then be part of a sentence of our own, which goes on after it.
    """
    return " ".join(str(message).split()).rstrip(".:;, ")


class TenantkitError(Exception):
    """The base of every error that tenantkit raises.

    Errors can be pickled and copied, as process pools and task queues do, with their text and attributes. ``args``
    has the arguments of the class, not the text, since some queues call the class with them.
    """

    def __init__(self, *text: object) -> None:
        # Not Exception's own, which would replace the arguments by the text.
        self._text = text[0] if len(text) == 1 else None

    @override
    def __str__(self) -> str:
        return super().__str__() if self._text is None else str(self._text)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own calls the class, which may need more than its positional arguments.
        return _restore, (type(self), self.args), self.__dict__


def _restore(kind: type[TenantkitError], arguments: tuple[Any, ...]) -> TenantkitError:
    return kind.__new__(kind, *arguments)


class ConfigurationError(TenantkitError):
    """The application, its metadata or its environment is not set up correctly."""

"""Effects of SQL text on its transaction and its connection, as far as its words show them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from functools import cached_property, lru_cache

_OPAQUE = re.compile(
    r"""
    (?P<comment> --[^\n\r]* | /\* )
    | (?P<literal>
        (?<!\w)E'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | (?<![\w$])\$(?P<tag>(?:[a-z_]\w*)?)\$.*?\$(?P=tag)\$
      )
    | (?P<name> "(?:[^"]|"")*" )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_COMMENT_SIGN = re.compile(r"/\*|\*/")
_FUNCTION_BODY = re.compile(r"\bbegin\s+atomic\b(?:\s*end\b|.*?;\s*end\b)", re.IGNORECASE | re.DOTALL)

_ENDS_TRANSACTION = re.compile(
    r"\s*(?:commit|end|abort|rollback(?!(?:\s+(?:work|transaction))?\s+to)|prepare\s+transaction)\b", re.IGNORECASE
)
_PREPARES = re.compile(r"\s*(?:prepare\b|(?:do|call)\b.*\bprepare\b)", re.IGNORECASE | re.DOTALL)
_RESETS_PATH = re.compile(
    r'\breset\s+(?:all\b|"?search_path\b)|\bsearch_path"?\s*(?:=|\bto\b)\s*default\b', re.IGNORECASE
)

_KINDS = (
    r"extension|user\s+mapping|role|user|group|database|tablespace|subscription|event\s+trigger|server"
    r"|foreign\s+data\s+wrapper|(?:(?:trusted\s+)?procedural\s+)?language|cast|transform|access\s+method"
)
_ONCE_PER_DATABASE = re.compile(
    rf"\b(?:(?:create|drop|alter)\s+(?:or\s+replace\s+)?(?:trusted\s+)?(?P<kind>{_KINDS})"
    # Each tenant's tables can be added to a publication, and its own schema altered.
    r"|(?:create|drop)\s+(?P<other>publication|schema)|(?:drop|reassign)\s+(?P<owned>owned)|alter\s+(?P<server>system))\b",
    re.IGNORECASE,
)
_COMMAND = re.compile(r"[\s(]*(\w+)")
_CHANGES_ROWS = re.compile(r"\b(insert|update|delete|merge)\b", re.IGNORECASE)
_RETURNS_ROWS = re.compile(r"\breturning\b", re.IGNORECASE)
_SETS_SEQUENCE = re.compile(r"\bsetval\s*\(", re.IGNORECASE)
_EXECUTES_TEXT = re.compile(r"\s*do\b", re.IGNORECASE)


class SQLText:
    """The text of one SQL statement or of several, examined without its comments and literals."""

    def __init__(self, sql: str) -> None:
        self._words, self.bare = _read(sql)
        """`bare` is the text without comments and with empty literals."""
        self._statements = _FUNCTION_BODY.sub("", self.bare).split(";")

    @cached_property
    def commands(self) -> frozenset[str]:
        """The commands of the statements, in lower case; that of a ``WITH`` is the first in it that changes rows."""
        return frozenset(map(_command, filter(str.strip, self._statements)))

    @cached_property
    def returns_rows(self) -> bool:
        """Whether one of the statements has ``RETURNING``."""
        return _RETURNS_ROWS.search(self.bare) is not None

    @cached_property
    def sets_sequence(self) -> bool:
        """Whether one of the statements calls ``setval``."""
        return _SETS_SEQUENCE.search(self.bare) is not None

    @cached_property
    def ends_transaction(self) -> bool:
        """Whether one of the statements commits or rolls back."""
        return any(map(_ENDS_TRANSACTION.match, self._statements))

    @cached_property
    def once_per_database(self) -> str | None:
        """The kind of object outside of schemas that a statement creates, alters or drops; ``None`` if there is none.

        The body of a ``DO`` is examined too, with the texts that it may execute.
        """
        found: Iterable[re.Match[str] | None] = (_ONCE_PER_DATABASE.match(each.lstrip()) for each in self._statements)
        if any(map(_EXECUTES_TEXT.match, self._statements)):
            found = itertools.chain(found, [_ONCE_PER_DATABASE.search(self._words)])
        first = next(filter(None, found), None)
        return None if first is None else " ".join((first[first.lastgroup or 0]).lower().split())

    @cached_property
    def prepares(self) -> bool:
        """Whether one of the statements is PREPARE, or may execute it in the body of a ``DO``."""
        return any(map(_PREPARES.match, (self._words, *self._statements)))

    @cached_property
    def resets_path(self) -> bool:
        """Whether it resets the ``search_path``, also in the body of a ``DO``."""
        return _RESETS_PATH.search(self._words) is not None

    @cached_property
    def is_plain(self) -> bool:
        """Whether it does nothing that the other properties tell about sessions' texts."""
        return not (self.ends_transaction or self.prepares or self.resets_path)

    @cached_property
    def goes_on_after_reset(self) -> bool:
        """Whether a statement follows the one that resets the ``search_path``."""
        *others, _last = [each for each in self._statements if each.strip()] or [""]
        return any(map(_RESETS_PATH.search, others))


@lru_cache(maxsize=1_000)
def read_sql(sql: str) -> SQLText:
    """Return the examined *sql*, from a cache if it was examined before."""
    return SQLText(sql)


def _command(statement: str) -> str:
    found = _COMMAND.match(statement)
    command = "" if found is None else found[1].lower()
    if command != "with":
        return command
    change = _CHANGES_ROWS.search(statement)
    return "select" if change is None else change[1].lower()


def _read(sql: str) -> tuple[str, str]:
    """Return *sql* without comments, and the same with empty literals."""
    words: list[str] = []
    bare: list[str] = []
    position = 0
    while (found := _OPAQUE.search(sql, position)) is not None:
        before = sql[position : found.start()]
        position = found.end()
        match found.lastgroup:
            case "comment":
                words += before, " "
                bare += before, " "
                if found[0] == "/*":
                    position = end_of_comment(sql, position)
            case "name":
                words += before, found[0]
                bare += before, found[0].replace(";", " ")
            case _:
                words += before, found[0]
                bare += before, "''"
    rest = sql[position:]
    return "".join([*words, rest]), "".join([*bare, rest])


def end_of_comment(sql: str, position: int) -> int:
    """Return the end of the comment whose text begins at *position*; comments nest."""
    depth = 1
    for sign in _COMMENT_SIGN.finditer(sql, position):
        depth += 1 if sign[0] == "/*" else -1
        if depth == 0:
            return sign.end()
    return len(sql)

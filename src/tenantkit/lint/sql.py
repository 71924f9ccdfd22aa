"""What a statement names and changes, as far as its words tell.

The rules look at statements in one spelling: without comments, one space between words, and what is not quoted in lower
case. So a few regular expressions do for what Alembic renders as well as for what people write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from typing_extensions import override

from tenantkit.naming import MAX_IDENTIFIER_BYTES
from tenantkit.postgres.sql_text import end_of_comment

_TOKEN = re.compile(
    r"""
    (?P<blank> \s+ | --[^\n\r]* )
    | (?P<comment> /\* )
    | (?P<body> \$(?P<tag>(?:[^\W\d]\w*)?)\$ .*? \$(?P=tag)\$ )
    | (?P<literal> E'(?:[^'\\]|\\.|'')*' | (?:[BXN]|U&)?'(?:[^']|'')*' )
    | (?P<name> "(?:[^"]|"")*" )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<sign> :: | . )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_$]*")
_NAMED_IN_LITERAL = re.compile(
    r"\b(?:nextval|setval|currval|to_reg\w+|pg_get_serial_sequence) \( '(\w+)\.|'(\w+)\.\w+' :: reg", re.IGNORECASE
)

NAME = r'(?:"(?:[^"]|"")*"|[\w$]+)(?:\.(?:"(?:[^"]|"")*"|[\w$]+))*'
NAMES = rf"{NAME}(?: , (?:only )?{NAME})*"
_CREATABLE = (
    "(?:materialized view|foreign table|table|view|sequence|type|domain|function|procedure|aggregate|statistics|schema)"
)
_KIND = f"(?:{_CREATABLE}|index)"
_CHANGED = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?:insert into|delete from|merge into) (?:only )?({NAME})",
        rf"(?:^|[()] )update (?:only )?({NAME})",
        rf"^(?:truncate|lock) (?:table )?(?:only )?({NAMES})",
        rf"^copy ({NAME})(?: \( [^)]* \))? from\b",
        rf"^alter {_KIND} (?:if exists )?(?:only )?({NAME})",
        rf"^drop {_KIND} (?:concurrently )?(?:if exists )?({NAMES})",
        rf"^create (?:or replace )?(?:unlogged )?(?:recursive )?{_CREATABLE} (?:if not exists )?({NAME})",
        rf"^create (?:unique )?index (?:concurrently )?(?:if not exists )?(?:{NAME} )?on (?:only )?({NAME})",
        rf"^(?:create|alter|drop) (?:or replace )?(?:constraint )?(?:trigger|policy) .*?\bon ({NAME})",
        rf"^comment on (?:{_KIND}|(?:constraint|trigger|policy) {NAME} on) ({NAME})",
        rf"^comment on column ({NAME})\.[^.]+ is",
        rf"^(?:grant|revoke) .*? on (?:table |sequence |function |type |schema )?({NAMES})",
        rf"^(?:reindex \w+|vacuum(?: full)?|cluster|refresh materialized view) (?:concurrently )?({NAME})",
    )
)
_CREATED = re.compile(
    rf"^create (?:or replace )?(?:(?:global |local )?temp(?:orary)? |unlogged )?{_CREATABLE} "
    rf"(?:if not exists )?({NAME})"
)
_ALTER_TABLE = re.compile(rf"^alter (?:foreign )?table (?:if exists )?(?:only )?({NAME}) ?\*? ?")
_TABLE_AND_COLUMN = re.compile(rf"(?:^comment on column|\bowned by) ({NAME})")
_SETTING = re.compile(r"\bset (?:session |local )?([a-z_]\w*)\.[\w.]+ (?:=|to)|^(?:reset|show) ([a-z_]\w*)\.")
_SCHEMA = re.compile(rf"\b(?:create|drop|alter|on|in|set) schema (?:if (?:not )?exists )?({NAME})")
_SET_PATH = re.compile(r"\bset (?:session |local )?search_path (?:=|to) ([^()]+?)(?= as\b| language\b|$)")


class Token(NamedTuple):
    """A word, a name, a sign, a literal, or the body of a function."""

    kind: str
    text: str

    @property
    def is_name(self) -> bool:
        """Whether it may name something."""
        return self.kind in {"name", "word"}


class Name(NamedTuple):
    """The name of something in a schema."""

    schema: str | None
    name: str

    @override
    def __str__(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Statement:
    """One statement, looked at by its words."""

    tokens: tuple[Token, ...]

    @cached_property
    def text(self) -> str:
        """The statement in one spelling; of literals and bodies only the quotes are left."""
        return _join(self.tokens)

    @cached_property
    def changes(self) -> tuple[Name, ...]:
        """What it creates, alters, drops, locks or writes to."""
        return tuple(
            parse_name(name)
            for pattern in _CHANGED
            for found in pattern.finditer(self.text)
            for name in found[1].replace("only ", "").split(" , ")
        )

    @cached_property
    def creates(self) -> Name | None:
        """What it creates, if that is something with a name in a schema."""
        found = _CREATED.match(self.text)
        return parse_name(found[1]) if found else None

    @cached_property
    def altered_table(self) -> Name | None:
        """The table of an ``ALTER TABLE``."""
        found = _ALTER_TABLE.match(self.text)
        return parse_name(found[1]) if found else None

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """What an ``ALTER TABLE`` does, one thing each."""
        start = _ALTER_TABLE.match(self.text)
        if start is None:
            return ()
        parts: list[list[Token]] = [[]]
        depth = 0
        for token in self.tokens:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if token.text == "," and depth == 0:
                parts.append([])
            else:
                parts[-1].append(token)
        first, *others = map(_join, parts)
        return (first[start.end() :], *others)

    @cached_property
    def schemas(self) -> frozenset[str]:
        """The schemas that it names, in the bodies of functions too.

        A name before a dot is one if nothing in the statement, such as a table or an alias, is called so.
        """
        tokens = tuple(_flat(self.tokens))
        called: set[str] = {"excluded", "new", "old"}  # so PostgreSQL itself calls rows
        called |= {parse_name(column).schema or "" for column in _TABLE_AND_COLUMN.findall(self.text)}
        called |= {a or b for a, b in _SETTING.findall(self.text)}
        qualifiers: set[str] = set()
        for token, after in zip(tokens, (*tokens[1:], Token("", "")), strict=True):
            if token.is_name:
                (qualifiers if after.text == "." else called).add(token.text)
        found = {*_SCHEMA.findall(self.text)}
        found |= {name for path in _SET_PATH.findall(self.text) for name in _names_in_path(path)}
        found |= {a or b for a, b in _NAMED_IN_LITERAL.findall(" ".join(token.text for token in tokens))}
        return frozenset(map(_unquote, found | (qualifiers - called)))

    @cached_property
    def body(self) -> str:
        """The bodies of functions in it, in the one spelling."""
        return _join(tuple(token for each in self.tokens if each.kind == "body" for token in _flat((each,))))

    @cached_property
    def long_names(self) -> tuple[str, ...]:
        """Names that PostgreSQL would cut."""
        return tuple(
            name
            for token in self.tokens
            if token.is_name and len((name := _unquote(token.text)).encode()) > MAX_IDENTIFIER_BYTES
        )


@lru_cache(maxsize=1_000)
def read_all(sql: str) -> tuple[Statement, ...]:
    """Return the statements of a piece of SQL, and those in the bodies of its DO, as far as their words tell."""
    statements = read(sql)
    bodies = (token for each in statements if each.text.startswith("do ") for token in each.tokens)
    return (*statements, *(inner for token in bodies if token.kind == "body" for inner in _read_body(token.text)))


def _read_body(body: str) -> Iterator[Statement]:
    tag = body.index("$", 1) + 1
    for statement in read(body[tag:-tag]):
        part: list[Token] = []
        cases = 0
        for before, token in zip((Token("", ""), *statement.tokens), statement.tokens, strict=False):
            if before.text == "execute" and token.kind == "literal":
                yield from read(token.text[token.text.index("'") + 1 : -1].replace("''", "'"))
            cases += {"case": 1, "end": -1}.get(token.text, 0) if cases or token.text == "case" else 0
            if not cases and token.text in {"begin", "else", "loop", "then"}:
                yield Statement(tuple(part))
                part = []
            else:
                part.append(token)
        yield Statement(tuple(part))


@lru_cache(maxsize=1_000)
def read(sql: str) -> tuple[Statement, ...]:
    """Return the statements of a piece of SQL."""
    statements: list[list[Token]] = [[]]
    for token in _tokens(sql):
        if token.text == ";":
            statements.append([])
        else:
            statements[-1].append(token)
    return tuple(Statement(tuple(tokens)) for tokens in statements if tokens)


def parse_name(text: str) -> Name:
    """Return the name that `Statement.text` spells so."""
    *before, name = map(_unquote, re.findall(r'"(?:[^"]|"")*"|[^.]+', text))
    return Name(before[-1] if before else None, name)


def _unquote(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _tokens(sql: str) -> Iterator[Token]:
    position = 0
    while (found := _TOKEN.match(sql, position)) is not None:
        position = found.end()
        match found.lastgroup:
            case "blank":
                pass
            case "comment":
                position = end_of_comment(sql, position)
            case "word":
                yield Token("word", found[0].lower())
            case "name" if _PLAIN_NAME.fullmatch(found[0][1:-1]):
                yield Token("name", found[0][1:-1])
            case kind:
                assert kind is not None  # noqa: S101 - each alternative is a group
                yield Token(kind, found[0])


def _flat(tokens: tuple[Token, ...]) -> Iterator[Token]:
    """Yield *tokens*, and for the body of a function those that are inside."""
    for token in tokens:
        if token.kind == "body":
            tag = token.text.index("$", 1) + 1
            yield from _tokens(token.text[tag:-tag])
        else:
            yield token


def _join(tokens: Sequence[Token]) -> str:
    words = ("''" if token.kind in {"body", "literal"} else token.text for token in tokens)
    return re.sub(r"(?<=[\w$\"]) \. (?=[\w$\"*])", ".", " ".join(words))


def _names_in_path(path: str) -> Iterator[str]:
    """Yield the schemas in the value of a ``search_path``."""
    for name in path.split(" , "):
        if name not in {"''", "default", "pg_temp", '"$user"'}:
            yield name

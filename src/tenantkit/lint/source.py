"""A revision's file: its comments that silence findings, and what in its Python cannot be replayed."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_NOQA = re.compile(r"#\s*tenantkit:\s*noqa\b(?::\s*(?P<codes>[\w-]+(?:\s*,\s*[\w-]+)*))?", re.IGNORECASE)

_ALL = frozenset({"*"})
"""The codes of a comment that names none."""

_READS = {
    "alembic.op.get_bind": "op.get_bind() gives a connection, and what is read from it decides",
    "alembic.context.get_bind": "context.get_bind() gives a connection, and what is read from it decides",
    "sqlalchemy.inspect": "an inspector reads the database",
    "sqlalchemy.orm.Session": "a Session reads the database",
    "sqlalchemy.orm.sessionmaker": "a Session reads the database",
}
_ATTRIBUTES = {
    "alembic.op.get_context().bind": "op.get_context().bind gives a connection, and what is read from it decides",
    "alembic.op.get_context().connection": "op.get_context().connection is one, and what is read from it decides",
    "os.environ": "the environment of the process decides",
}
_CONNECTS = {
    "sqlalchemy.create_engine": "it makes an engine of its own",
    "psycopg.connect": "it opens a connection of its own",
}
_VARIES = {
    "datetime.datetime.now": "the clock decides",
    "datetime.datetime.today": "the clock decides",
    "datetime.datetime.utcnow": "the clock decides",
    "datetime.date.today": "the clock decides",
    "time.time": "the clock decides",
    "time.time_ns": "the clock decides",
    "uuid.uuid1": "chance decides",
    "uuid.uuid4": "chance decides",
    "uuid.uuid6": "chance decides",
    "uuid.uuid7": "chance decides",
    "random": "chance decides",
    "secrets": "chance decides",
    "os.urandom": "chance decides",
    "os.getenv": "the environment of the process decides",
    "socket": "the machine decides",
    "subprocess": "another program decides",
}
"""What gives a different value each time, by function or by module."""


@dataclass(frozen=True)
class Suspicion:
    """A line whose outcome may differ from one tenant to the next."""

    line: int
    reason: str
    connects: bool = False
    """Whether it would reach a real database even from here."""


@dataclass(frozen=True)
class Source:
    """The text of a revision's file."""

    text: str

    @classmethod
    def of(cls, file: Path) -> Source:
        """Return what *file* holds."""
        with tokenize.open(file) as opened:  # as Python itself decodes it
            return cls(opened.read())

    def is_silenced(self, code: str, lines: tuple[int, ...]) -> bool:
        """Return whether a comment silences *code* in the whole file, or in a statement that holds one of *lines*."""
        if _matches(code, self._for_file):
            return True
        return any(
            first <= noted <= last and _matches(code, codes)
            for line in lines
            for first, last in [self._span(line)]
            for noted, codes in self._for_lines.items()
        )

    @cached_property
    def suspicions(self) -> tuple[Suspicion, ...]:
        """What in ``upgrade()``, and in what it calls in this file, depends on more than the revision."""
        imported = dict(_imports(self._tree))
        found = {
            (suspicion.line, suspicion.reason): suspicion
            for root in self._reached()
            for node in ast.walk(root)
            if (suspicion := _suspect(node, imported)) is not None
        }
        return tuple(found[key] for key in sorted(found))

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.text)

    def _reached(self) -> list[ast.stmt]:
        """Return the module's own statements, ``upgrade()``, and the functions that it leads to."""
        functions = {
            node.name: node for node in self._tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        reached: dict[str, ast.stmt] = {}
        others = [node for node in self._tree.body if node not in functions.values()]
        names = ["upgrade", *_names(others)]
        while names:
            name = names.pop()
            if name in functions and name not in reached:
                reached[name] = functions[name]
                names += _names([functions[name]])
        return [*others, *reached.values()]

    @cached_property
    def _comments(self) -> dict[int, frozenset[str]]:
        """The comments that silence, by line."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {
            token.start[0]: frozenset(re.split(r"\s*,\s*", found["codes"].lower())) if found["codes"] else _ALL
            for token in tokens
            if token.type == tokenize.COMMENT and (found := _NOQA.match(token.string))
        }

    @cached_property
    def _for_file(self) -> frozenset[str]:
        """What is silenced in the whole file: by comments of their own lines, above all code but the docstring."""
        body = self._tree.body[1:] if ast.get_docstring(self._tree) is not None else self._tree.body
        first = body[0].lineno if body else 0
        return frozenset(code for line, codes in self._comments.items() if line < first for code in codes)

    @cached_property
    def _for_lines(self) -> dict[int, frozenset[str]]:
        """What is silenced in single lines; a comment alone in its line is for the next line of code."""
        lines = self.text.splitlines()
        found: dict[int, frozenset[str]] = {}
        for line, codes in self._comments.items():
            target = line
            while target < len(lines) and lines[target - 1].lstrip().startswith("#"):
                target += 1
            found[target] = found.get(target, frozenset()) | codes
        return found

    def _span(self, line: int) -> tuple[int, int]:
        """Return the first and the last line of the statement that *line* is in."""
        spans = [
            (node.lineno, node.end_lineno or node.lineno)
            for node in ast.walk(self._tree)
            if isinstance(node, ast.stmt) and not hasattr(node, "body")
        ]
        around = [span for span in spans if span[0] <= line <= span[1]]
        return min(around, key=lambda span: span[1] - span[0], default=(line, line))


def _matches(code: str, codes: frozenset[str]) -> bool:
    return "*" in codes or code.lower() in codes


def _names(nodes: list[ast.stmt]) -> list[str]:
    return [each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)]


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that is imported, with what it stands for."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                for alias in names:
                    first = alias.name.partition(".")[0]
                    yield (alias.asname, alias.name) if alias.asname else (first, first)
            case ast.ImportFrom(module=str(module), names=names):
                for alias in names:
                    yield alias.asname or alias.name, f"{module}.{alias.name}"
            case _:
                pass


def _suspect(node: ast.AST, imported: dict[str, str]) -> Suspicion | None:
    match node:
        case ast.Call(func=ast.Attribute(attr="batch_alter_table"), keywords=keywords) if any(
            each.arg == "recreate" and getattr(each.value, "value", None) == "always" for each in keywords
        ):
            return Suspicion(node.lineno, "recreate='always' reads the table's columns")
        case ast.Call(func=func):
            name = _dotted(func, imported) or ""
            if name in _CONNECTS:
                return Suspicion(node.lineno, _CONNECTS[name], connects=True)
            reason = _READS.get(name) or _VARIES.get(name) or _VARIES.get(name.partition(".")[0])
            return Suspicion(node.lineno, reason) if reason else None
        case ast.Attribute():
            reason = _ATTRIBUTES.get(_dotted(node, imported) or "")
            return Suspicion(node.lineno, reason) if reason else None
        case _:
            return None


def _dotted(node: ast.expr, imported: dict[str, str]) -> str | None:
    """Return what a name, or a name with attributes, stands for in full."""
    match node:
        case ast.Name(id):
            return imported.get(id)
        case ast.Attribute(value, attr):
            before = _dotted(value, imported)
            return None if before is None else f"{before}.{attr}"
        case ast.Call(func=func):
            before = _dotted(func, imported)
            return None if before is None else f"{before}()"
        case _:
            return None

"""A statement, and the statements in the bodies of functions and of DO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Any

from tenantkit.lint.sql.actions import Action, actions_of
from tenantkit.lint.sql.expressions import functions
from tenantkit.lint.sql.names import changed_by, created_by, long_names, schemas_in, schemas_of
from tenantkit.lint.sql.texts import evaluate
from tenantkit.lint.sql.tree import Name, Node, find, name_of, options, parts, untag, walk

_CALLING = frozenset(
    {"CallStmt", "CreateTableAsStmt", "DeleteStmt", "InsertStmt", "MergeStmt", "SelectStmt", "UpdateStmt"}
)
"""Statements that evaluate expressions now."""
_OF_POSTGRESQL = frozenset(
    """
    array_agg avg btrim concat count current_schema current_setting date_trunc extract format gen_random_uuid
    generate_series json_build_object jsonb_build_object jsonb_set left length lower max md5 min nextval now nullif
    random regexp_replace replace right round row_number set_config setval split_part string_agg substr substring sum
    to_char to_jsonb trim unnest upper
    """.split()  # noqa: SIM905 - as a list it would take a page
)
"""Functions for which earlier revisions, whose rendering takes a while, need not be searched."""
MISSING = "pgparse, which reads SQL, is not installed: pip install 'tenantkit[lint]'"


def has_parser() -> bool:
    """Return whether the parser is installed."""
    return find_spec("pgparse") is not None


@dataclass(frozen=True)
class Statement:
    """One statement, or SQL that cannot be parsed."""

    sql: str
    """Its text."""
    kind: str
    """PostgreSQL's own name for it, such as ``AlterTableStmt``; empty if it cannot be parsed."""
    node: Node
    error: str | None = None
    """The parser's error, if it cannot be parsed."""

    @property
    def text(self) -> str:
        """Its text in one line."""
        return " ".join(self.sql.split())

    @cached_property
    def creates(self) -> Name | None:
        """The object that it creates."""
        return created_by(self.kind, self.node)

    @cached_property
    def changes(self) -> tuple[Name, ...]:
        """The objects that it creates, alters, drops, locks or writes to."""
        return tuple(changed_by(self.kind, self.node))

    @cached_property
    def actions(self) -> tuple[Action, ...]:
        """Its actions, if it is an ALTER TABLE."""
        return tuple(actions_of(self.kind, self.node))

    @cached_property
    def altered_table(self) -> Name | None:
        """The table of an ALTER TABLE."""
        return name_of(self.node.get("relation")) if self.actions else None

    @property
    def referred(self) -> tuple[Name, ...]:
        """The tables that its new foreign keys refer to."""
        keys = (each for each in find({self.kind: self.node}, "Constraint") if each["contype"] == "CONSTR_FOREIGN")
        return tuple(name for each in keys if (name := name_of(each.get("pktable"))) is not None)

    @property
    def partitioned(self) -> Name | None:
        """The table of which it creates a partition."""
        return name_of(self.node["inhRelations"][0]) if "partbound" in self.node else None

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options of a function, a DO, a VACUUM or a REINDEX by their names."""
        return options(self.node, "args" if self.kind == "DoStmt" else "params" if "params" in self.node else "options")

    @cached_property
    def schemas(self) -> frozenset[str]:
        """The schemas that it names, also in the bodies of functions."""
        inner = {schema for each in self.body for schema in schemas_in({each.kind: each.node})}
        return frozenset({*schemas_of(self.kind, self.node), *inner, *_declared(self.program)})

    @cached_property
    def long_names(self) -> tuple[str, ...]:
        """Names that PostgreSQL would truncate."""
        return tuple(long_names(self.sql, self.node))

    @cached_property
    def program(self) -> list[Node]:
        """The parse tree of its body, if that is PL/pgSQL; empty if it cannot be parsed."""
        return _read_program(self.sql)[0] if self._language == "plpgsql" else []

    @cached_property
    def body(self) -> tuple[Statement, ...]:
        """The statements in the body of the function that it creates, or of its DO, with nested bodies."""
        match self._language:
            case "plpgsql":
                trees, error = _read_program(self.sql)
                found = tuple(_statements_of(trees)) if error is None else (Statement(self.sql, "", {}, error),)
            case "sql":
                found = read("".join(parts(self.options.get("as"))[:1]))
            case _:
                found = ()
        return tuple(each for statement in found for each in (statement, *statement.body))

    @cached_property
    def executed(self) -> tuple[Statement, ...]:
        """The statements that are executed with its DO, or with each call of the function that it creates."""
        atomic = self.node.get("sql_body") if self.kind == "CreateFunctionStmt" else None
        if atomic is None:
            return self.body
        if "ReturnStmt" in atomic:
            return (Statement(self.sql, "SelectStmt", atomic),)
        blocks = (each["List"] for each in atomic["List"].get("items", ()))
        return tuple(Statement(self.sql, *untag(each)) for block in blocks for each in block.get("items", ()))

    @cached_property
    def calls(self) -> tuple[str, ...]:
        """The functions and procedures that it calls, without their schemas and without many of PostgreSQL's own."""
        if self.kind not in _CALLING:
            return ()
        called = {"FuncCall": self.node["funccall"]} if self.kind == "CallStmt" else {self.kind: self.node}
        names = (name.rpartition(".")[2] for name in functions(called))
        return tuple(name for name in names if name not in _OF_POSTGRESQL and not name.startswith("pg_"))

    @cached_property
    def unseen(self) -> str | None:
        """Why statements in its DO, or in the function that it creates, are not known; ``None`` if all are known."""
        if self.kind not in {"CreateFunctionStmt", "DoStmt"} or "sql_body" in self.node:
            return None
        what = "a DO" if self.kind == "DoStmt" else f"the function {self.creates}()"
        if self._language not in {"plpgsql", "sql"}:
            return f"{what} in {self._language} is not read"
        if any(_executed(each) is None for each in map(_dynamic, walk(self.program)) if each is not None):
            return f"{what} executes a text that is built at run time"
        return None

    @property
    def _language(self) -> str | None:
        if self.kind not in {"CreateFunctionStmt", "DoStmt"} or "as" not in self.options:
            return None
        default = "plpgsql" if self.kind == "DoStmt" else "sql"
        return next(iter(parts(self.options.get("language"))), default).lower()


@lru_cache(maxsize=1_000)
def read(sql: str) -> tuple[Statement, ...]:
    """Return the statements in a text; one with an error if it cannot be parsed."""
    parser = _parser()
    try:
        found: list[Node] = parser.parse(sql)
    except (parser.PGQueryError, RecursionError, ValueError) as error:
        return (Statement(sql, "", {}, str(error)),)
    encoded = sql.encode()  # locations are counted in bytes
    statements: list[Statement] = []
    for each in found:
        start = each.get("stmt_location", 0)
        end = start + each["stmt_len"] if "stmt_len" in each else None
        statements.append(Statement(encoded[start:end].decode(), *untag(each["stmt"])))
    return tuple(statements)


@lru_cache(maxsize=1_000)
def read_all(sql: str) -> tuple[Statement, ...]:
    """Return the statements in a text, and those in the bodies of its DO."""
    statements = read(sql)
    return (*statements, *(inner for each in statements if each.kind == "DoStmt" for inner in each.body))


@lru_cache(maxsize=1_000)
def _read_program(sql: str) -> tuple[list[Node], str | None]:
    parser = _parser()
    try:
        return parser.parse_pgsql(sql), None
    except (parser.PGQueryError, RecursionError, ValueError) as error:
        return [], str(error)


def _statements_of(program: list[Node]) -> Iterator[Statement]:
    """Yield the statements of a PL/pgSQL function; its expressions are parsed as those of a SELECT."""
    for node in walk(program):
        match node:
            case {"PLpgSQL_expr": {"query": query, "parseMode": 0}}:
                yield from read(query)
            case {"PLpgSQL_expr": {"query": query, "parseMode": 2}}:
                yield from read(f"SELECT {query}")
            case {"PLpgSQL_expr": {"query": query}}:  # an assignment
                yield from read(f"SELECT {query.partition('=')[2]}")
            case _:
                pass
        if (query := _dynamic(node)) is not None:
            yield from _executed(query) or ()


def _dynamic(node: Node) -> Node | None:
    """Return the expression of an EXECUTE; ``None`` for other nodes."""
    query: Node
    match node:
        case (
            {"PLpgSQL_stmt_dynexecute": {"query": query}}
            | {"PLpgSQL_stmt_dynfors": {"query": query}}
            | {"dynquery": query}
        ):
            return query  # type: ignore[no-any-return]
        case _:
            return None


def _executed(expression: Node) -> tuple[Statement, ...] | None:
    """Return the statements in the text of EXECUTE; ``None`` if that is not known, or cannot be parsed."""
    [statement] = read(f"SELECT {expression['PLpgSQL_expr']['query']}")
    text = next((evaluate(each.get("val")) for each in find(statement.node, "ResTarget")), None)
    found = None if text is None else read(text)
    return None if found is None or any(each.error is not None for each in found) else found


def _declared(program: list[Node]) -> Iterator[str]:
    """Yield the schemas of the types of declared variables."""
    for kind in find(program, "PLpgSQL_type"):
        names = str(kind["typname"]).split(".")
        yield from names[-3:-2] if kind["typname"].endswith("%TYPE") else names[-2:-1]


def _parser() -> Any:
    import pgparse  # noqa: PLC0415 - it comes with the extra

    return pgparse

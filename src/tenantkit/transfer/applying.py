"""Statements that repeat the changes of rows in other tables, as PostgreSQL's own replicas do: without triggers."""

# ruff: noqa: S608 - all names and values are quoted

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from tenantkit.postgres.pgoutput import Change, Delete, Insert, Relation, Row, Truncate, Unchanged, Update, Value
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.transfer import catalog
from tenantkit.transfer.catalog import Key, qualified

MISSING, DANGLING = "TK011", "TK012"
"""The SQLSTATEs of a changed row that is not there, and of one that refers to a shared row which does not exist."""
_ROWS, _SIZE = 500, 200_000
"""Number of rows that one INSERT has at most, and of the characters of their values, but for the last one."""
COUNT = "tenantkit_rows"
"""The variable of type ``bigint`` that the statements use."""
_IDENTITIES = text(
    """
    SELECT relname::text AS "table", attname::text AS name
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = to_regnamespace(:schema) AND attidentity = 'a'
    """
)


@dataclass(frozen=True, slots=True)
class Repetition:
    """Makes the statements, in PL/pgSQL, that repeat changes in the tables of *schema*."""

    schema: str
    keys: Mapping[str, Collection[Key]] = field(default_factory=dict[str, list[Key]])
    """The foreign keys to other schemas, by their tables: what replicas do not check."""
    identities: Mapping[str, Collection[str]] = field(default_factory=dict[str, set[str]])
    """The columns that are ``GENERATED ALWAYS AS IDENTITY``, by their tables: UPDATE does not take their values."""

    @classmethod
    def read(cls, connection: Connection, schema: str) -> Repetition:
        """Return one for the tables that are there."""
        keys, identities = defaultdict[str, list[Key]](list), defaultdict[str, set[str]](set)
        found = catalog.read_tables(connection, schema)
        for key in catalog.read_keys(connection, schema):
            if key.target_schema == schema:
                continue
            for name in found:  # also those of what a partition is a part of
                whole: str | None = name
                while whole is not None and whole != key.table:
                    whole = found[whole].table.parent
                if whole is not None:
                    keys[name].append(key)
        for row in connection.execute(_IDENTITIES, catalog.where(schema)):
            identities[row.table].add(row.name)
        return cls(schema, keys, identities)

    def statements(self, changes: Iterable[Change]) -> Iterator[str]:
        """Yield the statements; rows that are inserted one after the other have one for many."""
        checked: set[str] = set()
        for together in _together(changes):
            yield self._statement(*together)
            for change in together:
                for check in self._checks(change):
                    if check not in checked:
                        checked.add(check)
                        yield check

    def _statement(self, change: Change, *more: Change) -> str:
        match change:
            case Insert(relation):
                return self._insert(relation, [each.new for each in (change, *more) if isinstance(each, Insert)])
            case Update(relation, key, new):
                return self._update(relation, key, new)
            case Delete(relation, key):
                return _of_one_row(f"DELETE FROM ONLY {self._name(relation)} WHERE {_equal(key)}")
            case Truncate(relations):
                return f"TRUNCATE {', '.join(f'ONLY {self._name(each)}' for each in relations)};\n"

    def _insert(self, relation: Relation, rows: Iterable[Row]) -> str:
        values = ", ".join(f"({', '.join(map(_literal, row.values()))})" for row in rows)
        into = f"{self._name(relation)} ({catalog.names(relation.columns)})"
        return f"INSERT INTO {into} OVERRIDING SYSTEM VALUE VALUES {values};\n"

    def _update(self, relation: Relation, key: Row, new: Row) -> str:
        name = self._name(relation)
        values: dict[str, Value] = {
            column: value
            for column, value in new.items()
            if not isinstance(value, Unchanged) and not (column in key and key[column] == value)
        }
        if not values:  # it is as it was
            return _of_one_row(f"PERFORM FROM ONLY {name} WHERE {_equal(key)}")
        if not values.keys() & self.identities.get(relation.name, ()):
            changed = ", ".join(f"{quote_identifier(column)} = {_literal(value)}" for column, value in values.items())
            return _of_one_row(f"UPDATE ONLY {name} SET {changed} WHERE {_equal(key)}")
        taken = ", ".join(
            f"old.{quote_identifier(column)}" if isinstance(value, Unchanged) else _literal(value)
            for column, value in new.items()
        )
        return _of_one_row(
            f"WITH old AS (DELETE FROM ONLY {name} WHERE {_equal(key)} RETURNING *) "
            f"INSERT INTO {name} ({catalog.names(new)}) OVERRIDING SYSTEM VALUE SELECT {taken} FROM old"
        )

    def _checks(self, change: Change) -> Iterator[str]:
        if not isinstance(change, Insert | Update):
            return
        for key in self.keys.get(change.relation.name, ()):
            values = [change.new.get(column) for column in key.columns]
            found = [value for value in values if isinstance(value, str)]
            if len(found) == len(values):  # else one is null, or as it was
                where = _equal(dict(zip(key.target_columns, found, strict=True)))
                there = f"SELECT FROM {qualified(key.target_schema, key.target)} WHERE {where} FOR KEY SHARE"
                yield f"IF NOT EXISTS ({there}) THEN RAISE EXCEPTION USING ERRCODE = '{DANGLING}'; END IF;\n"

    def _name(self, relation: Relation) -> str:
        return qualified(self.schema, relation.name)


def _together(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Yield changes one by one, but those together that insert rows into one table."""
    waiting: list[Change] = []
    size = 0
    for change in changes:
        is_more = (
            waiting
            and isinstance(change, Insert)
            and isinstance(waiting[0], Insert)
            and waiting[0].relation is change.relation
            and len(waiting) < _ROWS
            and size < _SIZE
        )
        if waiting and not is_more:
            yield waiting
            waiting, size = [], 0
        waiting.append(change)
        if isinstance(change, Insert):
            size += sum(len(value) for value in change.new.values() if isinstance(value, str))
    if waiting:
        yield waiting


def _of_one_row(statement: str) -> str:
    is_wrong = f"IF {COUNT} <> 1 THEN RAISE EXCEPTION USING ERRCODE = '{MISSING}'; END IF;\n"
    return f"{statement};\nGET DIAGNOSTICS {COUNT} = ROW_COUNT;\n{is_wrong}"


def _equal(key: Row) -> str:
    return " AND ".join(f"{quote_identifier(name)} = {_literal(value)}" for name, value in key.items())


def _literal(value: Value) -> str:
    if isinstance(value, Unchanged):
        raise TypeError("a value that was not sent cannot be written")
    return "NULL" if value is None else quote_literal(value)

"""The reason for a refused key is correct, and the proposed key is valid."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text

from tenantkit import InvalidTenantKeyError, Tenancy
from tenantkit.naming import validate_key
from tests.support.models import Project

pytestmark = pytest.mark.each_value

PREFIXED = "put letters before it: '(.*)'"
NEVER = "Never lower-case"
REASONS: dict[str, tuple[Any, str, str | None]] = {
    "number": (42, "it is of the type int, not a string", "c-42"),
    "UUID": (UUID(int=7), "it is of the type UUID, not a string", f"c-{UUID(int=7)}"),
    "bytes": (b"acme", "it is of the type bytes, not a string", None),
    "nothing": (None, "it is of the type NoneType, not a string", None),
    "digits": ("42", "it starts with '4'", "c-42"),
    "written UUID": ("550e8400-e29b-41d4-a716-446655440000", "it starts with '5'", "c-550e8400-e29b-41d4-a716-446655440000"),
    "hyphen": ("-acme", "it starts with '-'", "c--acme"),
    "case": ("org_2NNEqL", "it has upper-case letters", NEVER),
    "empty": ("", "it is empty", None),
    "space": ("a b", "it has ' '", None),
    "several": ("a.b/c", "it has '.', '/'", None),
    "look-alike": ("\u0430cme", r"it has '\u0430'", None),
    "line": ("acme\n", r"it has '\n'", None),
    "many digits": ("4" * 47, "it starts with '4'", None),
    "long": ("a" * 49, "it is longer than 48 bytes", None),
    "reserved": ("pg_acme", "it is reserved", None),
}  # fmt: skip


@pytest.mark.parametrize(("key", "reason", "advice"), REASONS.values(), ids=REASONS)
def test_the_error_of_a_refused_key_names_the_broken_rule(key: Any, reason: str, advice: str | None) -> None:
    with pytest.raises(InvalidTenantKeyError) as refused:
        validate_key(key)
    assert refused.value.reason == reason
    assert f"no valid tenant key: {reason}." in str(refused.value)
    found = re.search(PREFIXED, str(refused.value))
    if advice is None:
        assert found is None
        assert NEVER not in str(refused.value)
    elif advice == NEVER:
        assert NEVER in str(refused.value)
    else:
        assert found
        assert validate_key(found[1]) == advice


@given(st.one_of(st.text(), st.integers(), st.uuids(), st.from_regex(r"\A[A-Za-z0-9_-]{1,60}\Z")))
def test_the_proposed_key_is_unique_for_each_id(value: Any) -> None:
    try:
        validate_key(value)
    except InvalidTenantKeyError as error:
        if found := re.search(PREFIXED, str(error)):
            assert validate_key(found[1]) == f"c-{value}"
        if "starts with" in error.reason:
            assert re.fullmatch(r"[0-9_-][a-z0-9_-]*", value)
        if "upper-case" in error.reason:
            assert re.search(r"[A-Z]", value)


class Word(str, Enum):  # noqa: UP042 - an older enum
    """Formatted as ``Word.ACME``, unlike an `enum.StrEnum`."""

    ACME = "acme"
    PREFIX = "of_"
    TENANT = "tenant"
    EXTENSIONS = "extensions"
    ROLE = "pg_monitor"
    APPLICATION = "shop"


def test_strings_of_other_classes_stand_for_their_value(make_tenancy: Callable[..., Tenancy], engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA extensions")
    tenancy = make_tenancy(
        schema_prefix=Word.PREFIX,
        placeholder=Word.TENANT,
        extra_schemas=[Word.EXTENSIONS],
        grant_to=Word.ROLE,
        application=Word.APPLICATION,
    )
    tenancy.install()
    for number in ("", "~2"):  # the second schema of a key is named by another format
        tenant = tenancy.create(Word.ACME, name=Word.ACME, domains=[Word.ACME], attributes={Word.ACME: Word.ACME})
        assert (tenant.schema, tenant.name, tenant.domains) == (f"of_acme{number}", "acme", ("acme",))
        assert tenant.attributes == {"acme": "acme"}
        with tenancy.session(Word.ACME) as session:
            path = session.scalar(text("SHOW search_path"))
            assert path.replace('"', "") == f"of_acme{number}, extensions, pg_temp"
            assert session.scalars(select(Project)).all() == []
        tenancy.cache.clear()
        assert tenancy.get(Word.ACME) == tenancy.drop(Word.ACME)

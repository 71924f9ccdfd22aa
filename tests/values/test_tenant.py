"""A tenant is a plain value, which can be pickled, copied and serialized, and which callers cannot change for others."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections import ChainMap
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import MappingProxyType
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask, jsonify
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from tenantkit import Isolation, Status, Tenancy, Tenant
from tests.support.generated import examples
from tests.values.conftest import ATTRIBUTES
from tests.values.test_errors import WAYS

pytestmark = pytest.mark.each_value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)
CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda each: each.update(plan="free"),
    "item": lambda each: each.__setitem__("plan", "free"),
    "del": lambda each: each.__delitem__("plan"),
    "or": lambda each: each.__ior__({"plan": "free"}),
    "clear": lambda each: each.clear(),
    "pop": lambda each: each.pop("plan"),
    "popitem": lambda each: each.popitem(),
    "setdefault": lambda each: each.setdefault("new", 1),
    "nested dict": lambda each: each["limits"].update(seats=[]),
    "nested append": lambda each: each["tags"].append("c"),
    "nested extend": lambda each: each["tags"].extend(["c"]),
    "nested item": lambda each: each["tags"].__setitem__(0, "c"),
    "nested slice": lambda each: each["tags"].__setitem__(slice(0, 1), []),
    "nested del": lambda each: each["tags"].__delitem__(0),
    "nested +=": lambda each: each["tags"].__iadd__(["c"]),
    "nested *=": lambda each: each["tags"].__imul__(2),
    "nested insert": lambda each: each["tags"].insert(0, "c"),
    "nested remove": lambda each: each["tags"].remove("a"),
    "nested pop": lambda each: each["tags"].pop(),
    "nested clear": lambda each: each["tags"].clear(),
    "nested sort": lambda each: each["tags"].sort(reverse=True),
    "nested reverse": lambda each: each["tags"].reverse(),
    "deep": lambda each: each["limits"]["seats"][1].update(extra=1),
}


@pytest.fixture
def tenant(filled_template: str, tenancy: Tenancy) -> Tenant:
    return tenancy.get("acme")


def test_a_tenant_can_be_pickled_and_copied(tenant: Tenant) -> None:
    for name, way in WAYS.items():
        found = way(tenant)
        assert (found, hash(found), repr(found)) == (tenant, hash(tenant), repr(tenant)), name
        with pytest.raises(TypeError, match="read-only"):
            found.attributes["limits"]["seats"].append(2)


def test_a_tenant_is_passed_to_another_process_and_back(tenant: Tenant) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(copy.copy, tenant).result(timeout=60) == tenant


def test_a_tenant_becomes_a_dictionary_of_json(tenant: Tenant) -> None:
    found = dataclasses.asdict(tenant)
    assert found["attributes"] == ATTRIBUTES
    assert json.loads(json.dumps(found, default=str))["attributes"] == ATTRIBUTES
    assert json.loads(json.dumps(tenant.attributes)) == ATTRIBUTES


@examples(5, 100)
@given(attributes=st.dictionaries(st.text(), JSON))
@example(attributes={"large": 10**400, "deep": {"er": [[]]}, "": {}})
def test_attributes_are_equal_to_plain_ones_also_after_pickling(attributes: dict[str, Any]) -> None:
    now: Any = None
    tenant = Tenant(
        id=1,
        key="a",
        name="a",
        status=Status.ACTIVE,
        placement=now,
        created_at=now,
        updated_at=now,
        attributes=attributes,
    )
    assert tenant.attributes == attributes
    assert dict(tenant.attributes) == attributes
    assert pickle.loads(pickle.dumps(tenant)) == copy.deepcopy(tenant) == tenant  # noqa: S301
    assert json.dumps(tenant.attributes) == json.dumps(attributes)
    assert json.dumps(dataclasses.asdict(tenant)["attributes"]) == json.dumps(attributes)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_caller_cannot_change_the_tenant_of_another(
    tenancy: Tenancy, tenant: Tenant, change: Callable[[Any], Any]
) -> None:
    held = tenancy.get(tenant.key)
    with pytest.raises(TypeError, match=r"read-only.*tenancy\.update"):
        change(held.attributes)
    assert tenancy.get(tenant.key).attributes == ATTRIBUTES


def test_a_copy_of_the_attributes_can_be_changed(tenant: Tenant) -> None:
    shallow = {**tenant.attributes, "plan": "free"} | {"new": 1}
    shallow_too: Any = copy.copy(tenant.attributes)
    shallow_too["plan"] = copy.copy(tenant.attributes["tags"])
    shallow_too["plan"].append("c")
    deep = copy.deepcopy(tenant.attributes)
    plain = dataclasses.asdict(tenant)["attributes"]
    assert shallow["plan"] == "free"
    copied: Any
    for copied in (deep, plain):
        copied["tags"].append("c")
        copied["limits"]["seats"][1].update(extra=1)
        del copied["plan"]
        assert copied == {"limits": {"seats": [1, {"extra": 1}]}, "tags": ["a", "b", "c"]}
    assert tenant.attributes == ATTRIBUTES


def test_mappings_and_tuples_are_accepted_as_attributes(any_tenancy: Any) -> None:
    given_ = MappingProxyType(
        {"limits": MappingProxyType({"seats": (1, ChainMap({"extra": None}))}), "tags": ("a", "b")}
    )
    expected = {"limits": {"seats": [1, {"extra": None}]}, "tags": ["a", "b"]}
    assert any_tenancy.create("acme", attributes=given_).attributes == expected
    assert any_tenancy.create("beta").attributes == {}
    assert any_tenancy.update("beta", attributes=given_).attributes == expected
    assert [tenant.key for tenant in any_tenancy.list(attributes=given_)] == ["acme", "beta"]
    assert any_tenancy.update("beta", attributes=any_tenancy.get("acme").attributes).attributes == expected


def test_a_status_may_be_given_as_a_string(tenant: Tenant) -> None:
    plain = {field.name: getattr(tenant, field.name) for field in dataclasses.fields(tenant)}
    found = Tenant(**{**plain, "status": "active", "isolation": "schema"})
    assert (found, found.status, found.isolation) == (tenant, Status.ACTIVE, Isolation.SCHEMA)
    assert (type(found.status), type(found.isolation)) == (Status, Isolation)


def test_changes_of_the_given_attributes_do_not_change_the_tenant(tenancy: Tenancy) -> None:
    given_: dict[str, Any] = {"tags": ["a"]}
    tenant = dataclasses.replace(tenancy.create("acme"), attributes=given_)
    given_["tags"].append("b")
    assert tenant.attributes == {"tags": ["a"]}


def test_fastapi_returns_a_tenant(tenant: Tenant) -> None:
    class Account(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        key: str
        status: Status
        attributes: dict[str, Any]

    app = FastAPI()
    app.get("/bare", response_model=None)(lambda: tenant)
    app.get("/in-a-dict")(lambda: {"tenant": tenant})
    app.get("/declared", response_model=Tenant)(lambda: tenant)
    app.get("/listed", response_model=list[Tenant])(lambda: [tenant])
    app.get("/model", response_model=Account)(lambda: tenant)
    client = TestClient(app)
    bare = client.get("/bare").json()
    assert (bare["key"], bare["status"], bare["attributes"]) == ("acme", "active", ATTRIBUTES)
    assert bare["placement"] == {"database": "main", "schema": "t_acme"}
    assert client.get("/in-a-dict").json() == {"tenant": bare}
    declared = client.get("/declared").json()
    assert {**declared, "created_at": 0, "updated_at": 0} == {**bare, "created_at": 0, "updated_at": 0}
    assert client.get("/listed").json() == [declared]
    assert client.get("/model").json() == {"key": "acme", "status": "active", "attributes": ATTRIBUTES}
    assert client.get("/openapi.json").status_code == 200


def test_flask_returns_a_tenant(tenant: Tenant) -> None:
    app = Flask(__name__)
    app.add_url_rule("/", "tenant", lambda: jsonify(tenant))
    app.add_url_rule("/attributes", "attributes", lambda: tenant.attributes)
    client = app.test_client()
    found = client.get("/").json
    assert found
    assert (found["key"], found["status"], found["attributes"]) == ("acme", "active", ATTRIBUTES)
    assert client.get("/attributes").json == ATTRIBUTES


def test_a_dropped_tenant_is_returned_as_it_was(any_tenancy: Any) -> None:
    any_tenancy.create("acme", attributes=ATTRIBUTES)
    before = any_tenancy.suspend("acme")
    assert any_tenancy.drop("acme") == before
    assert before.status is Status.SUSPENDED

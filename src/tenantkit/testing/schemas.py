"""Values that a JSON schema of an OpenAPI document permits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

_MAX_DEPTH = 8
_FORMATS: dict[str, Callable[[str], str]] = {
    "date": lambda _: "2026-01-01",
    "date-time": lambda _: "2026-01-01T00:00:00Z",
    "time": lambda _: "09:00:00",
    "uuid": lambda _: "00000000-0000-4000-8000-000000000000",
    "binary": lambda _: "",
    "email": lambda text: f"{text}@example.com",
    "uri": lambda text: f"https://{text}.example/",
}


def resolve(schema: Schema, document: Schema) -> Schema:
    """Return the schema that ``$ref`` refers to."""
    while (reference := schema.get("$ref")) is not None:
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]
        schema = found
    return schema


def has_type(schema: Schema, *kinds: str) -> bool:
    """Return whether a schema permits one of these types, and says so."""
    found: Any = schema.get("type")
    return any(kind in found if isinstance(found, list) else kind == found for kind in kinds)


@dataclass(frozen=True, slots=True)
class Examples:
    """Makes values for schemas."""

    document: Schema
    text: str
    """The text of strings that take any."""
    key_for: Callable[[str], Any]
    """Returns the value of a property that names a row, or ``None``."""

    def make(self, given: Schema, depth: int = 0) -> Any:
        """Return a value that a schema permits."""
        schema = resolve(given, self.document)
        for name in ("const", "default"):
            if schema.get(name) is not None:
                return schema[name]
        if choices := schema.get("enum"):
            return choices[0]
        for name in ("anyOf", "oneOf"):
            if options := [each for each in schema.get(name, ()) if not has_type(each, "null")]:
                return self.make(options[0], depth)
        return self._make_typed(schema, depth)

    def _make_typed(self, schema: Schema, depth: int) -> Any:
        if "allOf" in schema:
            parts: list[Any] = [self.make(each, depth) for each in schema["allOf"]]
            objects: list[dict[str, Any]] = [each for each in parts if isinstance(each, dict)]
            return {name: value for each in objects for name, value in each.items()} if objects else parts[0]
        if "properties" in schema or has_type(schema, "object"):
            return self._make_object(schema, depth + 1)
        if has_type(schema, "array"):
            count: int = schema.get("minItems", 0) or int(depth < _MAX_DEPTH)
            return [self.make(schema.get("items", {}), depth + 1) for _ in range(count)]
        if has_type(schema, "boolean"):
            return False
        if has_type(schema, "integer", "number"):
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        return self._make_text(schema)

    def _make_object(self, schema: Schema, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, each in schema.get("properties", {}).items():
            is_required = name in schema.get("required", ())
            if (key := self.key_for(name)) is not None:
                made[name] = key
            elif is_required or ("default" not in each and depth <= _MAX_DEPTH):
                made[name] = self.make(each, depth)
        return made

    def _make_text(self, schema: Schema) -> Any:
        if "pattern" in schema and schema.get("examples"):
            return schema["examples"][0]
        if (write := _FORMATS.get(schema.get("format", ""))) is not None:
            return write(self.text)
        return self.text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]

from typing import Any

from wskit_channels.codegen.schemas import JsonSchema, Mode, Wanted, json_schemas, reachable


def foreign(key: str, body: JsonSchema) -> Wanted:
    """A schema of another library's, whose own definition is called Part."""

    def give(kind: Any, mode: Mode) -> JsonSchema:
        part = {"Part": body, "Whole": {"type": "array", "items": {"$ref": "#/$defs/Part"}}}
        return {"$ref": "#/$defs/Whole", "$defs": part, "$schema": "draft"}

    return Wanted(key, key, "validation", None, give)


def test_definitions_of_several_libraries_are_shared_or_renamed() -> None:
    number, text = {"type": "integer"}, {"type": "string"}

    found, definitions = json_schemas(
        [foreign("a", number), foreign("b", number), foreign("c", text)]
    )

    assert found == {
        "a": {"$ref": "#/$defs/Whole"},
        "b": {"$ref": "#/$defs/Whole"},
        "c": {"$ref": "#/$defs/Whole2"},
    }
    assert definitions == {
        "Part": number,
        "Whole": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        "Part2": text,
        "Whole2": {"type": "array", "items": {"$ref": "#/$defs/Part2"}},
    }


def test_only_definitions_that_something_leads_to_are_kept() -> None:
    definitions: dict[str, JsonSchema] = {
        "A": {"items": {"$ref": "#/$defs/B"}},
        "B": {"items": {"$ref": "#/$defs/A"}},
        "C": {},
    }

    assert list(reachable([{"$ref": "#/$defs/B"}, None], definitions)) == ["A", "B"]

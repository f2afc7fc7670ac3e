"""JSON schemas of the settings, with the fields' descriptions: for messages, and for editors."""

import ast
import inspect
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema


class Described(GenerateJsonSchema):
    """Adds the string below each field. pydantic's own way reads the sources at every start, which costs 25 ms."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """The schema of a model, its fields described."""
        json = super().model_schema(schema)
        for name, text in _descriptions(schema["cls"]).items():
            json["properties"][name]["description"] = text
        return json

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No titles: they would be the fields' names again."""
        return False


def _descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Description of each field of a model, inherited ones included."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind.model_fields:
            body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
            for field, below in pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                    text = inspect.cleandoc(ast.literal_eval(below.value))
                    found[ast.unparse(field.target)] = text.replace("\n", " ")
    return found


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a model's values, every field described."""
    return model.model_json_schema(schema_generator=Described)


def for_editors(model: type[BaseModel]) -> dict[str, Any]:
    """JSON schema of a configuration file (`Configuration`) as it is written: models may be `like` another one."""
    schema = schema_of(model)
    like = {"type": "string", "description": "another model, from which all is taken that is not said here"}
    alike = {"type": "object", "required": ["like"], "properties": {"like": like}}
    for block in schema["properties"].values():
        for name, entry in block.get("patternProperties", {}).items():
            if "oneOf" in entry:
                block["patternProperties"][name] = {"anyOf": [*entry["oneOf"], alike]}
            block["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

"""Write the JSON schema that editors check config.yaml with, from the models that the workflow checks it with."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from drunet.settings.config import Configuration
from drunet.settings.schema import Described, for_editors
from studies.common.study_settings import MODEL_BLOCKS

HERE = Path(__file__).parent
# What a user need not repeat: settings of a study say what differs from its defaults.
_WHOLE = ("required", "minProperties")
_BLOCKS = {key: {"type": "object", "description": f"{key} that the study adds, by name"} for key in MODEL_BLOCKS}


def whole_schema() -> dict[str, Any]:
    """JSON schema of a configuration file, the settings of every study among it."""
    names = sorted(path.parent.name for path in HERE.parent.glob("studies/*/settings.yaml"))
    models = {name: importlib.import_module(f"studies.{name}.settings").Settings for name in names}
    refs, found = models_json_schema(
        [(model, "validation") for model in models.values()],
        ref_template="#/$defs/study_settings.{model}",
        schema_generator=Described,
    )
    schema = for_editors(Configuration)
    schema["$defs"] |= {f"study_settings.{name}": _differing(one) for name, one in found["$defs"].items()}
    studies = {name: refs[model, "validation"] for name, model in models.items()}
    for ref in studies.values():
        schema["$defs"][ref["$ref"].rpartition("/")[2]]["properties"] |= _BLOCKS
    schema["properties"]["study_settings"] |= {"additionalProperties": False, "properties": studies}
    return schema


def _differing(schema: Any) -> Any:
    """The schema of what differs from a block of which `schema` is that of the whole."""
    if isinstance(schema, list):
        return [_differing(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    # What is not said may be of several kinds.
    return {"anyOf" if k == "oneOf" else k: _differing(v) for k, v in schema.items() if k not in _WHOLE}


if __name__ == "__main__":
    text = json.dumps(whole_schema(), indent=1, ensure_ascii=False)
    (HERE / "config.schema.json").write_text(text + "\n", encoding="utf-8")

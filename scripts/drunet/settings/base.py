"""The base of all settings: strict, frozen, built when first used, and one-line errors."""

import importlib
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from drunet.errors import REFUSED

Share = Annotated[float, Field(ge=0, le=1)]
# Validated as a float and kept as it was written: an int stays an int in what is written to JSON.
AS_GIVEN = WrapValidator(lambda value, check: (check(value), value)[1])


class Block(BaseModel):
    """A block of the configuration. The string below a field is its description; see `drunet.settings.schema`.

    Values keep the type that YAML gave them: `true` is no number, `"1"` is no number, 1.5 is no whole number.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        defer_build=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    @classmethod
    def of(cls, block: Mapping[str, Any] | Self, where: str) -> Self:
        """Check a block, and return it typed; one that is typed already comes back as it is.

        `block` has keys and values as YAML gives them; `where` is its key, for messages, empty for the whole
        configuration. Raises ConfigError for the outermost mistake: key, value found, what is allowed, the nearest
        known name.
        """
        if isinstance(block, cls):
            return block
        try:
            return cls.model_validate(dict(block) if isinstance(block, Mapping) else block)
        except ValidationError as error:
            # By name: the wording of a message decides no result, so the fingerprint of a script must not follow it.
            messages = importlib.import_module("drunet.settings.messages")
            raise messages.config_error(error, cls, where) from None

    @classmethod
    def among(cls, block: Mapping[str, Any], where: str) -> Self:
        """As `of`, from a mapping that holds other keys too."""
        return cls.of({key: value for key, value in block.items() if key in cls.model_fields}, where)


def kind_of(value: Any) -> str:
    """JSON type of a value, which chooses among the types that a key may have."""
    kinds = (
        (type(None), "null"),
        (str, "string"),
        (list | tuple, "array"),
        (Mapping, "object"),
        (bool, "boolean"),
    )
    return next((kind for types, kind in kinds if isinstance(value, types)), "number")


def refusal(what: str, *, key: str = "", found: object, mend: str) -> PydanticCustomError:
    """What a validator raises for values that do not go together.

    `what`, `found` and `mend` are as for `drunet.errors.ConfigError`, `key` is the one concerned, within the block or
    value that the validator is given.
    """
    # The value is shown as text: pydantic takes a template's values for its own message.
    return PydanticCustomError(REFUSED, "{what}", {"what": what, "key": key, "found": found, "mend": mend})

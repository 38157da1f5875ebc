"""What every section of a profile is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue


class Section(BaseModel):
    """A part of a profile: unknown keys are refused, values cannot be changed later."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class _Switch:
    """Take `false` for a section that is not there, and do not guess what an empty one means."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._switched, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        section, _ = handler(schema)["anyOf"]
        return {"anyOf": [section, {"const": False}]}

    @staticmethod
    def _switched(value: object) -> object:
        if value is None:
            raise ValueError("nothing is written here; write {} for all defaults, or false to go without it")
        return None if value is False else value


AnySection = TypeVar("AnySection", bound=Section)
Switched = Annotated[AnySection | None, _Switch()]
"""A section that switches something on by being there; `false` takes back what `extends` brought."""

"""A text of a form that a regular expression checks: who gives another text is told the form in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True)
class TextForm:
    """The metadata of a type, `Annotated[str, TextForm(...)]`; pydantic's own `pattern` shows a person the expression.

    `pattern` has to fit the whole text. `words` go on after "it has to be". In a JSON schema the pattern stays.
    """

    pattern: str
    words: str

    def fits(self, text: str) -> bool:
        """Tell whether a text has the form."""
        return re.fullmatch(self.pattern, text, re.ASCII) is not None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._require, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}

    def _require(self, text: str) -> str:
        if not self.fits(text):
            raise PydanticCustomError("text_form", "it has to be {words}", {"words": self.words})
        return text

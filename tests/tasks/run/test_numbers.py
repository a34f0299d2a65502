"""What a pattern of a number matches can be converted, whatever the text is."""

import re

import pytest

from tasks.run.numbers import DECIMAL, SCIENTIFIC, WHOLE, whole_number

TEXTS = [
    "1.2.3",
    "9" * 5000,
    "..",
    "\u0663",
    "\u00b2",
    "1e",
    "-",
    "nan",
    "",
    "7",
    "0.25",
    "1.",
    "-1e-07",
    "1e999",
    "1_0",
]


@pytest.mark.parametrize("text", TEXTS)
def test_whatever_matches_is_a_number(text: str) -> None:
    for pattern in (WHOLE, DECIMAL, SCIENTIFIC):
        if re.fullmatch(pattern, text):
            float(text)
        for found in re.findall(pattern, text):
            float(found)
    assert whole_number(text) == (7 if text == "7" else None)


def test_what_python_prints_is_matched() -> None:
    for number in (0.1, 1e-07, 1.5e16, -2.0, 123456.789, 1 / 3):
        assert re.fullmatch(SCIENTIFIC, str(number))
    assert re.fullmatch(DECIMAL, "0.9683") and re.fullmatch(WHOLE, "252")

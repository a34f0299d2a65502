"""Who gives a text of another form than a setting or an option takes is told the form in words."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from tasks.audit.baseline import Accepted
from tasks.load.options import LoadOptions
from tasks.run import naming, options, settings
from tasks.run.errors import SettingsRefused
from tasks.run.settings import Settings
from tasks.run.text_form import TextForm
from tests.conftest import ROOT

RECORDS = [each for each in vars(options).values() if isinstance(each, type) and issubclass(each, BaseModel)]
OF_AN_EXPRESSION = re.compile(r"\\[dws.]|\[[a-zA-Z0-9^]+-[a-zA-Z0-9]|\)\?|\$$|\{\d+,")
"""What regular expressions have and sentences do not."""


def test_no_type_has_an_expression_that_pydantic_would_show() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for room in ("tasks", "flows", "kennel")
        for file in (ROOT / room).rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and name_of(call) in {"Field", "StringConstraints", "constr"}
        if any(keyword.arg in {"pattern", "regex"} for keyword in call.keywords)
    ]
    assert found == [], "use tasks.run.text_form.TextForm, whose refusal is in words"


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def forms() -> Iterator[TextForm]:
    """Yield each form of the settings, of the options and of the names."""
    for module in (naming, options, settings):
        for value in vars(module).values():
            yield from (each for each in getattr(value, "__metadata__", (value,)) if isinstance(each, TextForm))


def test_each_form_is_told_in_words() -> None:
    found = set(forms())
    assert len(found) >= 14, "the forms are not found any more"
    for form in found:
        assert not form.fits("\x00") and not form.fits("")
        assert not OF_AN_EXPRESSION.search(form.words) and len(form.words.split()) >= 3, form.words


def test_an_expression_would_be_noticed() -> None:
    assert all(OF_AN_EXPRESSION.search(form.pattern) for form in forms() if form.pattern != "https?://.*")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("kms_key", "my key", "the ARN of a key of KMS"),
        ("kms_key", "alias/mine\n", "the ARN of a key of KMS"),
        ("bucket", "My_Bucket", "the name of a bucket: 3 to 63 lower-case letters"),
        ("serving_image", "image", "an image of ECR with its tag or digest"),
        ("ec2_image_parameter", "ami", "the name of a public parameter of SSM"),
        ("weights_url", "ftp://mirror/", "a URL that begins with http:// or https://"),
        ("account_id", "\u0661" * 12, "the 12 digits of an account"),
        ("region", "Frankfurt", "the name of a region, such as us-east-1"),
    ],
)
def test_a_setting_of_another_form_is_refused_in_words(field: str, value: str, words: str) -> None:
    with pytest.raises(SettingsRefused) as caught:
        Settings.given({field: (f"--{field}", value)})
    assert caught.value.why.startswith(f"it has to be {words}")
    assert not OF_AN_EXPRESSION.search(caught.value.why)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kms_key", "alias/mine"),
        ("kms_key", "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
        ("kms_key", "arn:aws:kms:us-east-1:123456789012:alias/mine"),
        ("bucket", "my-bucket.1"),
        ("serving_image", f"123456789012.dkr.ecr.us-east-1.amazonaws.com/a/b@sha256:{'0' * 64}"),
        ("serving_image", "123456789012.dkr.ecr.us-east-1.amazonaws.com/a:1.0"),
        ("weights_url", "https://mirror.example.org/weights/"),
    ],
)
def test_what_has_the_form_is_taken(field: str, value: str) -> None:
    assert getattr(Settings.given({field: (f"--{field}", value)}), field) == value


@pytest.mark.parametrize("record", [*RECORDS, LoadOptions, Accepted], ids=lambda record: record.__name__)
def test_no_refusal_of_a_record_shows_an_expression(record: type[BaseModel]) -> None:
    for name, field in record.model_fields.items():
        annotated: Any = field.rebuild_annotation()
        for value in ("\x00", ["\x00"]):
            try:
                TypeAdapter(annotated).validate_python(value)
            except ValidationError as error:
                assert not any(OF_AN_EXPRESSION.search(each["msg"]) for each in error.errors()), name

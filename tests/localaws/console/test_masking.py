"""What is secret is not shown, and what is not secret is."""

import pytest
from markupsafe import Markup

from localaws.console.masking import HIDDEN, Mask, whole_words
from localaws.console.rendering import Renderer, visible

CANARY = "canary0123456789abcdefABCDEF0123456789+/"
MASK = Mask(lambda: ["the-server-made-this-secret", "short"])
MASK.renew()


@pytest.mark.parametrize(
    "text",
    [
        f"AWS_SECRET_ACCESS_KEY={CANARY}",
        f"aws_secret_access_key = {CANARY}",
        f'{{"SecretAccessKey": "{CANARY}", "x": 1}}',
        f"{{'password': '{CANARY}'}}",
        f"DB_PASSWORD: {CANARY}",
        f'{{"SecretAccessKey":"{CANARY}","x":1}}',
        f'{{\\"password\\":\\"{CANARY}\\"}}',
        f"passphrase={CANARY}",
        f"token=AWS4{CANARY}",
        f"HF_TOKEN={CANARY}",
        f"api-key={CANARY}",
        f"https://b.s3.amazonaws.com/k?X-Amz-Credential={CANARY}%2Fs3&X-Amz-Signature={CANARY}&X-Amz-Expires=60",
        f"/key?AWSAccessKeyId={CANARY}&Signature={CANARY}&Expires=1",
        f"/notebook?authToken={CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"authorization: AWS4-HMAC-SHA256 Credential={CANARY}/20261129, Signature={CANARY}",
        f"x-amz-security-token: {CANARY}",
        f"IQoJb3JpZ2lu{CANARY}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}",
    ],
)
def test_a_secret_is_hidden_and_it_is_said_that_something_was(text: str) -> None:
    assert CANARY not in MASK(text) and HIDDEN in MASK(text)


def test_what_the_server_issued_is_hidden_wherever_it_stands() -> None:
    assert MASK("found the-server-made-this-secret/x") == f"found {HIDDEN}/x"


def test_of_thousands_of_keys_each_is_hidden_alone_and_among_other_characters() -> None:
    keys = [f"{number:04}" + "k/+Z" * 9 for number in range(5_000)]
    mask = Mask(lambda: keys)
    mask.renew()

    assert mask(f"first {keys[0]} last {keys[-1]}") == f"first {HIDDEN} last {HIDDEN}"
    assert mask(f"aaa{keys[7]}{keys[8]}/b") == f"aaa{HIDDEN}{HIDDEN}/b"
    assert mask("x" * 50) == "x" * 50


def test_a_text_is_cut_where_a_word_ends() -> None:
    assert whole_words(f"said {CANARY}", 20) == "said …"
    assert whole_words(f"{CANARY} was said", 20, is_end=True) == "… was said"
    assert whole_words("as it is", 20) == "as it is"


def test_the_password_in_a_url_is_hidden() -> None:
    assert MASK("postgres://user:canary@host/db") == f"postgres://{HIDDEN}@host/db"


def test_of_an_access_keys_id_its_ends_are_shown() -> None:
    assert MASK("used AKIAIOSFODNN7EXAMPLE now") == f"used AKIAI{HIDDEN}MPLE now"


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::123456789012:role/kennel-secret-reader",
        "/aws/sagemaker/Endpoints/kennel-dogs",
        "epoch 3 of 10: loss=0.25, accuracy=0.9",
        "the token was refused",
        "s3://bucket/a/b/c/0123456789abcdef0123456789abcdef01234567",
        "ssh -p 2222 ubuntu@127.0.0.2",
        "a short secret",
    ],
)
def test_what_is_no_secret_is_shown_as_it_is(text: str) -> None:
    assert MASK(text) == text


@pytest.mark.parametrize(
    "piece", ["a-", "token", "token ", "secret.", "://a:", "-----BEGIN RSA ", "bearer ", "AKIA", "='"]
)
def test_no_text_of_others_takes_long_to_look_at(piece: str) -> None:
    """Were a pattern quadratic, this would end at the tests' time limit."""
    assert len(MASK(piece * 200_000)) > 0


def test_what_is_no_text_is_left_alone() -> None:
    assert MASK(7) == 7 and MASK(None) is None
    assert MASK(Markup("<b>token=1234</b>")) == "<b>token=1234</b>"


def test_characters_that_are_not_seen_are_spelled_out() -> None:
    assert visible("a\u202eb\x1b[0m\ud800\n") == "a\\u202eb\\x1b[0m\\ud800\n"


def test_every_value_that_a_template_writes_is_masked_and_escaped() -> None:
    html = Renderer(MASK)("gone.html", {"what": f"<b>password={CANARY}"})
    assert CANARY not in html and "&lt;b&gt;password=" in html

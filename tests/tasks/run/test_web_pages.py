"""The rule by which servers on loopback tell their own pages and programs from foreign pages."""

import pytest

from tasks.run.web_pages import foreign_page

OWN = ("Host", "127.0.0.1:4578")


@pytest.mark.parametrize(
    "headers",
    [
        [OWN],
        [("host", "localhost:4578")],
        [("HOST", "LocalHost")],
        [OWN, ("Origin", "http://127.0.0.1:4578"), ("Sec-Fetch-Site", "same-origin")],
        [("Host", "localhost:9000"), ("Origin", "http://localhost:9000")],
        [OWN, ("Sec-Fetch-Site", "none"), ("Accept", "*/*")],
    ],
)
def test_programs_own_pages_and_typed_addresses_are_let_in(headers: list[tuple[str, str]]) -> None:
    assert foreign_page(headers) is None


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([], "loopback host"),
        ([("Host", "")], "loopback host"),
        ([("Host", "evil.example:4578")], "loopback host"),
        ([("Host", "localhost.evil.example")], "loopback host"),
        ([("Host", "127.0.0.1.evil.example:4578")], "loopback host"),
        ([("Host", "0.0.0.0:4578")], "loopback host"),
        ([OWN, ("Host", "evil.example")], "loopback host"),
        ([OWN, ("Origin", "http://localhost:4578")], "another origin"),
        ([OWN, ("Origin", "http://127.0.0.1:4577")], "another origin"),
        ([OWN, ("Origin", "https://127.0.0.1:4578")], "another origin"),
        ([OWN, ("Origin", "null")], "another origin"),
        ([OWN, ("Origin", "http://127.0.0.1:4578"), ("Origin", "http://evil.example")], "another origin"),
        ([OWN, ("Sec-Fetch-Site", "cross-site")], "another site"),
        ([OWN, ("Sec-Fetch-Site", "same-site")], "another site"),
        ([OWN, ("Sec-Fetch-Site", "of-the-future")], "another site"),
    ],
)
def test_a_foreign_host_origin_or_site_is_refused(headers: list[tuple[str, str]], words: str) -> None:
    refused = foreign_page(headers)
    assert refused is not None and words in refused

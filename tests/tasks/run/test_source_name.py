"""Tests that the name of a source has no secret, and that a URL that is signed anew is the same source."""

from pathlib import Path

import pytest

from tasks.run.naming import run_id_for
from tasks.run.source_name import (
    UNREADABLE,
    file_path,
    is_url,
    keep_in_memory,
    source_identity,
    source_name,
    whole_source,
)

AMAZON = "X-Amz-Algorithm=AWS4&X-Amz-Credential=AKIA%2F1&X-Amz-Expires=60&X-Amz-Signature=abc"
CLOUDFRONT = "Expires=1&Signature=abc&Key-Pair-Id=K"
AZURE = "sv=2024&sr=b&sp=r&se=2027&sig=abc"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host", "https://host"),
        ("https://host/", "https://host/"),
        ("https://host/x%20y.zip", "https://host/x%20y.zip"),
        ("https://host/2024/pass-token/x.zip", "https://host/.../x.zip"),
        ("https://host/pass/", "https://host/..."),
        ("https://host/a/T0PASSpass", "https://host/..."),
        ("https://hooks.slack.com/services/T00/B00/passXXXX", "https://hooks.slack.com/..."),
        ("https://host/d/glpat-pass1a2b3c4d5e6f7g8h9.zip", "https://host/..."),
        ("https://host/d/9f86d081-884c-7d65-9a2f-eaa0c55ad015pass.zip", "https://host/..."),
        ("https://host/d/9f86d081884c7d659a2feaa0c55ad015pass.zip", "https://host/..."),
        ("https://host/d/Aa0_pass-Bb1_pass-Cc2_pass-Dd3_pass-Ee4.zip", "https://host/..."),
        ("https://host/hdnts=exp=1~acl=/*~hmac=pass/x.zip;v=pass", "https://host/..."),
        ("https://host/d/Dogs-and-cats-2024.tar.gz", "https://host/.../Dogs-and-cats-2024.tar.gz"),
        ("https://host/d/imagesofdogbreeds2024.zip", "https://host/.../imagesofdogbreeds2024.zip"),
        ("s3://bucket/dogs/2024/x.zip", "s3://bucket/dogs/2024/x.zip"),
        ("s3://bucket/dogs/", "s3://bucket/dogs/"),
        ("s3://bucket/x.zip?X-Amz-Signature=pass", "s3://bucket/x.zip"),
        ("s3://me:pass@bucket/x.zip", "s3://bucket/x.zip"),
        ("file:///home/me/dogs.zip", "file:///home/me/dogs.zip"),
        ("file://me:pass@host/x.zip", "file://host/x.zip"),
        ("data:pass", UNREADABLE),
        (" jdbc:pass", UNREADABLE),
        ("mailto:pass", UNREADABLE),
        ("https://me:pass@host:8443/x.zip?token=t#f", "https://host:8443/x.zip"),
        ("HTTP://me@host/x.zip", "HTTP://host/x.zip"),
        ("http://me:p@ss@[::1]:80/x.gz", "http://[::1]:80/x.gz"),
        ("http://me:pa/ss@host/x", "http://..."),
        ("http://me:p?ss@host/x", "http://..."),
        ("http://me:p#ss@host/x", "http://..."),
        ("http://me:pass@[::1/x.zip", "http://..."),
        ("ftp://me:pass@host/x.zip", "ftp://host/x.zip"),
        ("http://me:12/34@host/x", "http://..."),
        ("http://me/pa==@host/x", "http://..."),
        ("http://me:2024#pass@host", "http://..."),
        ("http://me@corp/x:pass@host/x", "http://..."),
        ("https://[me:pass]/x", "https://..."),
        ("https://me%3Apass%40host/x.zip", "https://..."),
        ("https://me:pass\uff20host/x.zip", "https://..."),
        ("https:///me:pass@host/x.zip", "https://..."),
        ("https://host/x.zip%253FX-Amz-Signature=pass", "https://host/..."),
        ("https://host/x.zip&X-Amz-Signature=pass", "https://host/..."),
        ("https://host/x.zip;sig=pass", "https://host/..."),
        ("data/x.zip?access_token=pass", UNREADABLE),
        (" http://me:pass@host/x.zip?token=t", UNREADABLE),
        ("https:/me:pass@host/x.zip", UNREADABLE),
        ("https:\\\\me:pass@host\\x.zip", UNREADABLE),
        ("https:me:pass@host/x.zip", UNREADABLE),
        ("https//me:pass@host/x.zip", UNREADABLE),
        ("https;//me:pass@host/x.zip", UNREADABLE),
        ("https\uff1a//me:pass@host/x.zip", UNREADABLE),
        ("//me:pass@host/x.zip", UNREADABLE),
        ("me:pass@host/x.zip", UNREADABLE),
        ("me%253Apass%2540host/x.zip", UNREADABLE),
        ("https://bücher.example/a%40b.zip", "https://bücher.example/a%40b.zip"),
        ("photos of me/a?b#c@d.zip", "photos of me/a?b#c@d.zip"),
        ("sample", "sample"),
    ],
)
def test_a_url_is_named_without_user_query_and_fragment(url: str, name: str) -> None:
    assert source_name(url) == name == source_name(name)
    assert "pass" not in name + run_id_for(url)


def test_a_file_that_exists_is_shown_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "me:pass@host.zip"
    assert source_name(str(path)) == UNREADABLE
    path.touch()
    assert source_name(str(path)) == str(path)


@pytest.mark.parametrize("signature", [AMAZON, CLOUDFRONT, AZURE, "X-Goog-Signature=abc&X-Goog-Date=1"])
def test_a_url_that_is_signed_anew_is_the_same_source_and_run(signature: str) -> None:
    signed = f"https://host/x.zip?id=7&{signature}"
    anew = signed.replace("host", "me:pass@host").replace("abc", "def")
    assert source_identity(signed) == source_identity(anew) == "https://host/x.zip?id=7"
    assert run_id_for(signed) == run_id_for(anew) != run_id_for("https://host/x.zip?id=8")
    assert run_id_for("https://host/x.zip?" + signature) == run_id_for("https://host/x.zip")


@pytest.mark.parametrize(
    "query", ["policy=dogs", "expires=never", "sv=2024", "id=7&signature=by-me", "X-Amz-Date=1", "versionId=abc"]
)
def test_a_parameter_without_the_others_of_a_signature_says_what_is_asked_for(query: str) -> None:
    assert source_identity(f"https://host/x.zip?{query}") == f"https://host/x.zip?{query}"
    assert run_id_for(f"https://host/x.zip?{query}") != run_id_for("https://host/x.zip")


def test_all_paths_of_a_file_are_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    same = ["my x.zip", "./my x.zip", f"{tmp_path}/my x.zip", f"../{tmp_path.name}/my x.zip"]
    same += [f"file://{tmp_path}/my%20x.zip", f"FILE://localhost{tmp_path}/my%20x.zip"]
    assert {source_identity(each) for each in same} == {f"{tmp_path}/my x.zip"}
    assert len({run_id_for(each) for each in same}) == 1
    assert run_id_for("my x.zip") != run_id_for("other/my x.zip")
    assert source_identity("sample") == "sample"


def test_a_file_of_another_machine_is_no_path() -> None:
    found = [file_path(each) for each in ("file:///a%20b", "file://localhost/a", "file://host/a", "file:///a?b", "/a")]
    assert found == ["/a b", "/a", None, None, None]


def test_this_process_remembers_the_whole_url_by_its_name() -> None:
    whole = "https://me:pass@host.example/only-here.zip?X-Amz-Signature=abc"
    name = keep_in_memory(whole)
    assert (name, whole_source(name)) == ("https://host.example/only-here.zip", whole)
    assert keep_in_memory(name) == name and whole_source(name) == whole
    assert whole_source("data/photos.zip") == "data/photos.zip"


def test_two_sources_of_one_process_have_two_names_and_one_that_is_signed_anew_keeps_its_own() -> None:
    first, second = (f"https://two.example/{folder}/x.zip?X-Amz-Signature=1" for folder in ("a", "b"))
    names = [keep_in_memory(each) for each in (first, second, second.replace("Signature=1", "Signature=2"))]
    assert names[0] == "https://two.example/.../x.zip"
    assert names[1] == names[2] and names[1].startswith(f"{names[0]}#")
    assert whole_source(names[0]) == first and whole_source(names[1]) == second.replace("=1", "=2")
    assert [run_id_for(name) for name in names[:2]] == [run_id_for(first), run_id_for(second)]


def test_only_http_and_https_are_urls_to_fetch() -> None:
    found = [is_url(text) for text in ("http://h/x", "HTTPS://h", "ftp://h/x", "s3://b/k", "a/b.zip", "http:/h")]
    assert found == [True, True, False, False, False, False]

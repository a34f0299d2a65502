"""A page as one file (`still/PAGE`): what it shows without a server, that it has no secret, and which parts it has."""

import base64
import hashlib
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.browser import Browser, needs_browser
from tests.hostile import CORPUS
from tests.localaws.console.scene import CANARY, Scene, get


def still(scene: Scene, page: str) -> str:
    status, headers, text = get(f"{scene.address}still/{page}")
    assert status == 200 and headers["Content-Type"].startswith("text/html"), text
    return text


def test_a_still_page_asks_for_nothing_and_leads_nowhere(scene: Scene) -> None:
    for page in scene.pages:
        text = still(scene, page)
        body = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL)
        assert re.search(r"<a\b|href=|src=|hx-sse|<link|<iframe", body) is None, page
        assert "<h1>" in text and "as of 20" in text


def test_a_still_page_lets_in_the_consoles_own_scripts_by_their_digest_only(scene: Scene) -> None:
    text = still(scene, "jobs")
    allowed = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert allowed is not None and "default-src 'none'" in allowed[1] and "connect-src" not in allowed[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts]
    assert re.findall(r"'sha256-([^']+)'", allowed[1]) == digests and len(digests) == 2
    assert get(f"{scene.address}still/jobs")[1]["Content-Security-Policy"].startswith(allowed[1])


def test_a_still_page_hides_what_the_live_one_hides(scene: Scene) -> None:
    hidden = (CANARY, scene.address.rstrip("/").rpartition("/")[2])
    assert [(page, each) for page in scene.pages for each in hidden if each in still(scene, page)] == []


def test_a_page_shows_the_parts_that_its_query_names(scene: Scene) -> None:
    endpoint, function = f"endpoint?name={scene.endpoint}", f"function?name={scene.function}"
    scaling = still(scene, f"{endpoint}&parts=scaling,charts")
    assert "Scaling of AllTraffic" in scaling and "data-chart" in scaling
    assert "Variables, whose values" not in scaling and "<h2>Log</h2>" not in scaling
    log = still(scene, f"{function}&parts=versions,log")
    assert "Aliases" in log and "Last invocations" in log and "Provisioned environments" not in log
    whole = get(f"{scene.address}{function}")[2]
    assert "Provisioned environments" in whole and "Last invocations" in whole and "data-chart" in whole


@pytest.mark.parametrize("page", ["job?name=nothing", "nothing", "live/jobs"])
def test_what_is_not_there_has_no_still_page(scene: Scene, page: str) -> None:
    assert get(f"{scene.address}still/{page}")[0] == 404
    assert get(f"{scene.address.rstrip('/')}x/still/jobs")[0] == 403


def test_hostile_names_stay_text(scene: Scene) -> None:
    s3 = scene.server.client("s3")
    for number, text in enumerate(text for text in CORPUS if text.isprintable()):
        s3.put_object(Bucket=scene.bucket, Key=f"still {number} {text}", Body=b"x")
    text = still(scene, f"bucket?name={scene.bucket}&prefix={quote('still ')}")
    body = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL)
    assert re.search(r"<(script|img|iframe|svg|!--)", body) is None and "&lt;script&gt;" in body


@needs_browser
def test_a_browser_draws_the_file_with_its_charts_and_without_an_error(
    scene: Scene, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "still.html"
    file.write_text(still(scene, f"endpoint?name={scene.endpoint}"))
    tab = browser.open("about:blank#still")
    tab.call("Log.enable")
    tab.go(file.as_uri())
    assert tab.run("document.querySelectorAll('.chart').length") > 0
    assert tab.run("document.querySelectorAll('.chart canvas').length == document.querySelectorAll('.chart').length")
    tab.run("0")
    assert [each for each in browser.events if tab.owns(each) and each["method"] == "Log.entryAdded"] == []
    tab.call("Page.close")

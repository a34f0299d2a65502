"""The page of a run: what it says, that it is one whole file, and that a browser shows it as it was meant."""

import dataclasses
import html
import html.parser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.page.page import write_page
from tasks.page.rendering import TEMPLATES
from tasks.report.summary import RunSummary, summarise
from tasks.run.handle import RunFolder
from tasks.run.ledger import Ledger
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.observed_values import ObservedValue
from tasks.verdicts.verdicts import judge_prediction
from tests.browser import Browser, needs_browser, running_browser
from tests.hostile import CORPUS, harmful_in
from tests.tasks.page.evaluations import evaluation, write_photos
from tests.tasks.report.test_report import RECORDS
from tests.tasks.scaling.deployments import plan as scaling_plan
from tests.test_hostile_text import summary_of

BREEDS = [f"{number:03d}.Breed_of_a_long_name" for number in range(133)]
LARGEST_BYTES = 5_000_000
CONTRAST = 4.5
"""What WCAG 2.2 asks of text at level AA."""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with every record of a whole way, an evaluation with photos, and a ledger."""
    made = RunFolder(tmp_path / "runs" / "dogs-1a2b3c4d")
    for record in RECORDS:
        made.keep(record)
    made.keep(evaluation(["x", "y"]))
    write_photos(made.folder, 3)
    ledger = Ledger(made.folder, account_id="123456789012", endpoint="http://127.0.0.1:1")
    ledger.record("endpoint", "e", "created", identifier="arn:aws:sagemaker:us-east-1:123456789012:endpoint/e")
    ledger.record("role", "r", "removed")
    return made


class _Page(html.parser.HTMLParser):
    """Collects a page's elements, and checks that each is closed where it was opened."""

    VOID = ("meta", "img", "br", "hr", "input", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str, attribute: str) -> list[str]:
        return [
            value or "" for name, attrs in self.elements if name == tag and (value := attrs.get(attribute)) is not None
        ]


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2])))


def test_the_page_says_how_good_how_sure_how_dear_and_what_is_left(run: RunFolder) -> None:
    shown = text_of(write_page(summarise(run)).read_text())

    assert "achieved The model's test accuracy is 0.9268 on 41 images (95 %: 0.806 to 0.975)." in shown
    assert "not judged No load test judged the deployment." in shown
    assert "training on SageMaker 0.0077 USD 2 × ml.m5.xlarge" in shown
    left = "e endpoint 0.115 1 × ml.m5.large kennel down dogs-1a2b3c4d --yes removes all of it."
    assert left in shown.partition("Left running when this page was written:")[2]
    assert "The ledger has 2 resources, of which 1 may exist." in shown
    assert "x y 1 y x 1" in shown.partition("What it confuses")[2]
    assert "x , taken for y (0.90 against 0.01)." in shown


def test_a_failed_prediction_stands_in_the_headline_and_is_the_weakest(run: RunFolder) -> None:
    plan = scaling_plan()
    choice = plan.choices[2]
    lost = judge_prediction(choice, choice.predicted, ObservedValue(1e6, "told", samples=500))
    run.keep(ScalingVerdicts(plan, "function", (lost,), {}, 50.0, {}, "a machine"))

    shown = text_of(write_page(summarise(run)).read_text())

    assert f"not achieved {lost.what}: " in shown
    assert f"The weakest is {choice.name}: “{lost.what}” failed" in shown
    assert "serving, a month" in shown and "0 of 1 predictions held." in shown


def test_what_is_missing_or_damaged_is_said_and_the_rest_is_shown(run: RunFolder) -> None:
    (run.folder / "endpoint.json").unlink()
    path = run.folder / "TrainedModels" / "sagemaker" / "evaluation.json"
    path.write_text(path.read_text().replace("0.25", "0.24"))

    shown = text_of(write_page(summarise(run)).read_text())

    assert "not achieved There is no endpoint: endpoint.json is missing, which the flow deploy writes." in shown
    assert "Test accuracy 0.9268 on 41 images (95 %: 0.806 to 0.975). No more is known: its evaluation cannot" in shown


def test_an_evaluation_of_another_model_is_not_shown(run: RunFolder) -> None:
    run.keep(evaluation(["x", "y"], uri="s3://b/earlier.tar.gz"))

    shown = text_of(write_page(summarise(run)).read_text())

    assert "No more is known: the evaluation that is kept is of another model." in shown
    assert "What it confuses" not in shown


def test_what_is_left_is_not_known_when_the_ledger_is_damaged(run: RunFolder) -> None:
    path = run.folder / "ledger.jsonl"
    path.write_text(path.read_text().replace('"created"', '"crested"', 1))

    shown = text_of(write_page(summarise(run)).read_text())

    assert "What was left running is not known: the ledger is damaged." in shown and "Nothing of this run" not in shown


def test_a_plan_of_which_nothing_could_be_judged_is_no_achievement(run: RunFolder) -> None:
    plan = scaling_plan()
    busy = ObservedValue(None, "told", disturbed="busy")
    open_ = tuple(judge_prediction(choice, choice.predicted, busy) for choice in plan.choices)
    run.keep(ScalingVerdicts(plan, "function", open_, {}, 50.0, {}, "a machine"))

    shown = text_of(write_page(summarise(run)).read_text())

    assert "held under load" not in shown and f"not judged {len(open_)} of the plan's predictions" in shown


def test_the_page_is_one_file_that_asks_for_nothing(run: RunFolder) -> None:
    text = write_page(summarise(run)).read_text()
    page = _Page(text)

    assert "default-src 'none'" in text and not page.all("script", "src") and "<script" not in text
    assert all(source.startswith("data:image/") for source in page.all("img", "src")) and page.all("img", "src")
    assert len(page.all("img", "alt")) == len(page.all("img", "src"))
    ids = [value for _, attrs in page.elements if (value := attrs.get("id"))]
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.all("a", "href") if link.startswith("#")} <= set(ids)
    assert not re.search(r'(?:href|src)="(?:https?:)?//|url\(', text)


def test_a_page_of_133_classes_with_all_photos_stays_small_and_its_matrix_legible(run: RunFolder) -> None:
    run.keep(evaluation(BREEDS, hard=24))
    write_photos(run.folder, 24)

    path = write_page(summarise(run))

    assert path.stat().st_size < LARGEST_BYTES
    page = _Page(path.read_text())
    assert len(page.all("img", "src")) == 24
    assert "122 confused photos of other classes are not in this table." in text_of(path.read_text())
    assert "And 118 pairs more, 118 photos." in text_of(path.read_text())


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_contrast_in_both_themes() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", (TEMPLATES / "style.css").read_text(), re.DOTALL)
    for theme in (light, dark):
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", theme))
        assert len(colours) == 10
        for text in ("text", "muted", "accent", "good", "bad", "open"):
            for ground in ("ground", "card"):
                low, high = sorted(luminance(colours[name]) for name in (text, ground))
                assert (high + 0.05) / (low + 0.05) >= CONTRAST, (text, ground, colours)


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as made:
        yield made


@needs_browser
@pytest.mark.parametrize("width", [1400, 390])
def test_no_page_is_wider_than_its_window(run: RunFolder, browser: Browser, width: int) -> None:
    run.keep(evaluation(BREEDS))
    tab = browser.open(write_page(summarise(run)).as_uri())
    tab.resize(width, 900)

    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("[...document.images].every(image => image.naturalWidth > 0)")
    assert tab.run("document.querySelectorAll('h1').length") == 1


@needs_browser
def test_names_of_others_stay_text_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    run = RunFolder(tmp_path / "run-1")
    tab = None
    for text in CORPUS:
        summary: RunSummary = dataclasses.replace(summary_of(text, run.folder), notes=(text,))
        run.keep(evaluation([text, "other"], text, uri=text))
        path = write_page(summary)
        assert harmful_in(path.read_text()) == set()
        tab = browser.open(path.as_uri()) if tab is None else tab
        tab.go(f"{path.as_uri()}?{CORPUS.index(text)}")
        assert tab.run("document.title") == "run-1: report of a run"
        found = "document.querySelectorAll('script, #forged, iframe, [onerror], a[href^=javascript], a[href^=http]')"
        assert tab.run(f"{found}.length") == 0, text
        assert tab.run("document.querySelectorAll('main > section').length") >= 8

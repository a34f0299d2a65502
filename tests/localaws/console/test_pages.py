"""The console's pages, as HTTP answers and in a real browser: what they show, and that they stay up to date.

Covered: each page with one of everything, live updates, the keyboard, a narrow window, hostile names, hidden secrets.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import Browser, Tab, empty_pages, needs_browser
from tests.hostile import CORPUS
from tests.localaws.console.scene import CANARY, Scene, get
from tests.polling import wait_until

NARROW, WIDE = 390, 1400
TROUBLE = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """A tab whose scripts' errors and console messages are kept."""
    tab = browser.open("about:blank#new")
    for domain in ("Page", "Runtime", "Log"):
        tab.call(f"{domain}.enable")
    show(tab, WIDE)
    yield tab
    tab.call("Page.close")  # its stream would take one of the six connections that a browser has to a host


def show(tab: Tab, width: int) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width == NARROW)


def press(tab: Tab, key: str) -> None:
    text = {"text": "\r"} if key == "Enter" else {}
    tab.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=CODES[key], **text)
    tab.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=CODES[key])


CODES = {"Tab": 9, "Enter": 13}


def html(scene: Scene, page: str) -> str:
    status, _, text = get(scene.address + page)
    assert status == 200, text
    return text


def test_no_page_shows_a_secret(scene: Scene) -> None:
    record = scene.server.client("iam").list_access_keys(UserName="nobody")["AccessKeyMetadata"]
    hidden = [CANARY, scene.address.rstrip("/").rpartition("/")[2], *(each["AccessKeyId"] for each in record)]
    pages = {page: html(scene, page) for page in scene.pages}
    assert [(page, each) for page, text in pages.items() for each in hidden if each in text] == []
    job, function = pages[f"job?name={scene.job}"], pages[f"function?name={scene.function}"]
    assert "HF_TOKEN" in job and "PLAIN_NAME" in function and "password=•••" in job


def test_a_page_tells_what_there_is_without_a_script(scene: Scene) -> None:
    told = {
        f"job?name={scene.job}": ("Completed", "algo-1", "Downloading", "loss", "0.25", "epochs", "loss=0.25;"),
        f"tuning?name={scene.tuning}": ("Completed", "Random", "rate="),
        "jobs": (scene.job, scene.tuning, "1 × ml.m5.large"),
        f"endpoint?name={scene.endpoint}": ("AllTraffic", "ml.m5.large", "InService", "track", "AlarmHigh", "Maximum"),
        f"function?name={scene.function}": ("live", "Reserved", "READY", "1 of 1", "REPORT RequestId"),
        f"instance?id={scene.instance}": ("m5.large", "127.0.0.1/32", "22", "Console output"),
        "notebooks": ("scene", "ml.t3.medium", "InService"),
        f"bucket?name={scene.bucket}": ("folder/photo.jpg", "1.5 kB"),
        f"bucket?name={scene.bucket}&prefix=folder/": ("1–1 of 1",),
        "roles": ("user/nobody", "s3:ListAllMyBuckets", "powerless", "never"),
        f"role?arn={scene.role}": ("sagemaker.amazonaws.com", "AmazonS3ReadOnlyAccess", "&#34;Resource&#34;"),
        "alarms?name=busy": ("ALARM", "set by hand", "Configuration"),
        "requests?show=denied": ("ListBuckets", "user/nobody", "denied", "AccessDenied", "403"),
        "requests": ("CreateTrainingJob", "allowed", "InvokeEndpoint"),
        "": ("Training jobs", "In alarm", "60 times as fast"),
    }
    lost = [(page, each) for page, texts in told.items() for each in texts if each not in html(scene, page)]
    assert lost == []


@needs_browser
def test_each_page_is_shown_without_an_error_and_fits_a_narrow_window(scene: Scene, tab: Tab, browser: Browser) -> None:
    show(tab, NARROW)
    for page in scene.pages:
        tab.go(scene.address + page)
        shown = tab.run("""({
            title: document.title,
            width: document.documentElement.scrollWidth,
            undrawn: [...document.querySelectorAll('.chart')].filter(it => !it.querySelector('canvas')).length,
            current: document.querySelectorAll('header [aria-current=page]').length,
        })""")
        title = shown.pop("title")
        assert title.endswith("– localaws") and shown == {"width": NARROW, "undrawn": 0, "current": 1}, (page, shown)
    assert trouble(tab, browser) == []


@needs_browser
def test_a_page_is_kept_up_to_date_and_keeps_the_focus(scene: Scene, tab: Tab, browser: Browser) -> None:
    tab.go(scene.address + "notebooks")
    wait_until(lambda: tab.run("document.getElementById('liveness').textContent"), holds=lambda said: said == "live")
    tab.run("window.kept = true; document.querySelector('header nav a:last-child').focus()")
    sagemaker = scene.server.client("sagemaker")
    sagemaker.create_notebook_instance(NotebookInstanceName="later", InstanceType="ml.t3.large", RoleArn=scene.role)
    wait_until(lambda: tab.run("document.querySelector('main').textContent"), holds=lambda text: "later" in text)
    assert tab.run("window.kept && document.activeElement.textContent") == "Requests"
    assert trouble(tab, browser) == []


@needs_browser
def test_each_page_is_live_whatever_was_looked_at_before_it(scene: Scene, tab: Tab) -> None:
    said = "document.getElementById('liveness').textContent"
    for page in ("", "jobs", "endpoints", "functions", "instances", "roles", "alarms", "metrics", "requests", ""):
        tab.go(scene.address + page)
        wait_until(lambda: tab.run(said), holds=lambda text: text == "live")
    tab.run("history.back()")
    wait_until(lambda: tab.run("document.title"), holds=lambda title: title.startswith("Requests"))
    wait_until(lambda: tab.run(said), holds=lambda text: text == "live")


@needs_browser
def test_charts_follow_new_data_and_an_opened_table_stays_open(scene: Scene, tab: Tab) -> None:
    tab.go(f"{scene.address}endpoint?name={scene.endpoint}")
    tab.run("document.querySelector('figure details').open = true")
    before = tab.run("document.querySelector('.chart').dataset.chart")
    look = "document.querySelector('.chart').dataset.chart"
    wait_until(lambda: tab.run(look), "another moment in the chart", holds=lambda now: now != before)
    assert tab.run("document.querySelector('figure details').open")
    assert tab.run("document.querySelectorAll('.chart canvas').length == document.querySelectorAll('.chart').length")


@needs_browser
def test_a_link_of_another_site_opens_the_console_and_no_frame_does(scene: Scene, browser: Browser) -> None:
    with empty_pages() as port:
        tab = browser.open(f"http://localhost:{port}/")
        tab.run(f"""new Promise(done => {{
            const frame = document.createElement('iframe')
            Object.assign(frame, {{src: '{scene.address}', onload: done}})
            document.body.append(frame)
        }}).then(() => 0)""")
        tab.run(f"fetch('{scene.address}', {{mode: 'no-cors'}}).then(() => 0, () => 0)")
        wait_until(lambda: [tab.run("0"), tab.statuses(scene.address)][1], holds=lambda found: len(found) >= 2)
        assert set(tab.statuses(scene.address)) == {403}
        tab.run(f"""(() => {{
            const link = document.createElement('a')
            link.href = '{scene.address}'
            document.body.append(link)
            link.click()
        }})()""")
        look = "document.querySelector('h1')?.textContent ?? ''"
        assert wait_until(lambda: tab.run(look), "the console") == "Overview"


@needs_browser
def test_the_keyboard_leads_past_the_menu_and_to_every_page(scene: Scene, tab: Tab) -> None:
    tab.go(scene.address)
    press(tab, "Tab")
    assert tab.run("document.activeElement.className") == "skip"
    press(tab, "Enter")
    wait_until(lambda: tab.run("document.activeElement.id"), holds=lambda focused: focused == "main")
    press(tab, "Tab")
    assert tab.run("document.activeElement.closest('main') != null && document.activeElement.matches('a.kind')")
    press(tab, "Enter")
    wait_until(lambda: tab.run("location.pathname"), holds=lambda path: path.endswith("/jobs"))


@needs_browser
def test_hostile_names_and_lines_stay_text(scene: Scene, tab: Tab, browser: Browser) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in CORPUS]
    put_hostile(scene, texts)
    pages = ("metrics?from=0", f"bucket?name={scene.bucket}", f"function?name={scene.function}", "buckets")
    for page in (*pages, f"bucket?name={scene.bucket}&prefix=%22%3E%3Cscript%3E", "job?name=%3Cimg+src%3Dx%3E"):
        tab.go(scene.address + page)
        assert tab.run("document.title").endswith("– localaws")
        assert tab.run("document.querySelectorAll('#forged, main img, main script, main a[href*=\"//\"]').length") == 0
    tab.go(f"{scene.address}function?name={scene.function}")
    shown = tab.run("document.querySelector('.log').textContent")
    assert "<script>document.title='forged'</script>" in shown and "\\x1b[2J" in shown and "\\u202e" in shown
    failures = [each for each in trouble(tab, browser) if "status of 404" not in each]
    assert failures == []


def put_hostile(scene: Scene, texts: list[str]) -> None:
    client, group = scene.server.client, f"/aws/lambda/{scene.function}"
    client("logs").create_log_stream(logGroupName=group, logStreamName="hostile")
    now = int(time.time() * 1e3)
    events = [{"timestamp": now, "message": text} for text in texts]
    client("logs").put_log_events(logGroupName=group, logStreamName="hostile", logEvents=events)
    for number, text in enumerate(texts):
        if text.isprintable():
            client("s3").put_object(Bucket=scene.bucket, Key=f"{number} {text}", Body=b"x")
            dimensions = [{"Name": "d", "Value": text}]
            data: list[dict[str, Any]] = [{"MetricName": f"m{number}", "Value": 1, "Dimensions": dimensions}]
            client("cloudwatch").put_metric_data(Namespace="hostile", MetricData=data)


def trouble(tab: Tab, browser: Browser) -> list[str]:
    """Return what the tab's scripts threw, and what it or they wrote to the browser's console."""
    tab.run("0")  # takes in the events
    return [str(each["params"]) for each in browser.events if tab.owns(each) and each["method"] in TROUBLE]

"""Tests of the URLs and addresses that the function must never connect to."""

import subprocess
import sys

import pytest
from addresses import check_addresses, parse_url
from fetch import FetchPolicy, fetch
from refusal import Refusal
from timing import Budget

from tests.lambda_front.conftest import CLASSIFY

BAD_URLS = [
    "file:///etc/passwd",
    "ftp://example.org/a.jpg",
    "gopher://example.org/",
    "data:image/jpeg;base64,AAAA",
    "jar:http://example.org!/",
    "example.org/a.jpg",
    "//example.org/a.jpg",
    "http:///a.jpg",
    "https://",
    "http://user:pass@example.org/",
    "http://user@example.org/",
    "http://@example.org/",
    "http://example.org:22/",
    "http://example.org:6379/",
    "https://example.org:80/",
    "http://example.org:0/",
    "http://example.org:99999/",
    "http://example.org:x/",
    "http://example.org/\r\nHost: internal",
    "http://exa mple.org/a",
    "http://example.org/\x00",
    "http://example.org\\@127.0.0.1/",
    "http://stra\u00dfe.example/",
    "http://example.org\uff0f/",
    "http://\u00e4.example\uff1a8123/",
    "http://user\uff20\u00e4.example/",
    "http://\uff11\uff12\uff17.1/",
    "http://\uff10x7f000001/",
    "http://\u00e4..example/",
    "http://" + "\u00e4" * 80 + ".example/",
    "http://example.org/\u0085",
    "http://example.org/\ud800",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.1./",
    "http://[::1%25lo]/",
    "http://[v1.x]/",
    "http://[127.0.0.1]/",
    "http://x[::1]/",
    "http://[::1]x/",
    "http://example.org:/",
    "http://[::1/",
    "http://-a.example.org/",
    "http://" + "a" * 3000 + "/",
]

BLOCKED = [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1",
    "169.254.169.254", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%lo", "fec0::1", "ff02::1", "100::1", "not an address",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_does_not_clearly_name_a_web_server_is_refused(url: str) -> None:
    def never(host: str, port: int) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(Refusal) as caught:
        fetch(url, FetchPolicy(1000, resolver=never), Budget.of_context(None, margin_seconds=0.0))
    assert (caught.value.status, caught.value.code) == (400, "BadUrl")


def test_plain_urls_are_parsed() -> None:
    target = parse_url("HTTPS://Example.org./a/b.jpg?x=1&y=%20#part", ())
    assert (target.scheme, target.host, target.port, target.path) == (
        "https",
        "example.org.",
        443,
        "/a/b.jpg?x=1&y=%20",
    )
    assert parse_url("http://[2606:2800::1]:80", ()).host_header == "[2606:2800::1]"
    assert parse_url("http://img1.example.org/", ()).host == "img1.example.org"
    assert parse_url("http://8.8.8.8/", ()).host == "8.8.8.8"


@pytest.mark.parametrize(
    ("typed", "host", "path"),
    [
        (" https://example.org/a.jpg\r\n", "example.org", "/a.jpg"),
        ("https://example.org/my dog.jpg?q=a b#my part", "example.org", "/my%20dog.jpg?q=a%20b"),
        ("https://example.org/h\u00fcndchen.jpg?\u00e4=\u20ac", "example.org", "/h%C3%BCndchen.jpg?%C3%A4=%E2%82%AC"),
        ("https://example.org/100%25/%fc.jpg", "example.org", "/100%25/%fc.jpg"),
        ("https://M\u00dcLLER.example/", "xn--mller-kva.example", "/"),
        ("https://\u4f8b\u3048\u3002\u30c6\u30b9\u30c8:443/", "xn--r8jz45g.xn--zckzah", "/"),
        ("https://ex\u0430mple.org/", "xn--exmple-4nf.org", "/"),
    ],
)
def test_a_url_as_people_type_it_is_sent_in_its_ascii_form(typed: str, host: str, path: str) -> None:
    target = parse_url(typed, ())
    assert (target.host, target.path) == (host, path)


@pytest.mark.parametrize(
    "url",
    [
        "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
        "http://\u2460\u2461\u2466.0.0.1/",
        "http://127\u30020.0\u30021/",
        "http://169.254.169.\uff12\uff15\uff14/",
        "http://\uff2c\uff4f\uff43\uff41\uff4chost/",
    ],
)
def test_an_international_form_of_a_private_address_is_checked_like_the_address(url: str) -> None:
    local = FetchPolicy(1000, resolver=lambda host, port: ["127.0.0.1"] if host == "localhost" else ["93.184.216.34"])
    with pytest.raises(Refusal) as caught:
        fetch(url, local, Budget.of_context(None, margin_seconds=0.0))
    assert (caught.value.status, caught.value.code) == (400, "UrlNotAllowed")


@pytest.mark.parametrize("address", BLOCKED)
def test_a_special_address_is_blocked_alone_and_beside_a_public_one(address: str) -> None:
    target = parse_url("http://photos.example/", ())
    for addresses in ([address], ["93.184.216.34", address], [address, "93.184.216.34"]):
        with pytest.raises(Refusal) as caught:
            check_addresses(target, addresses, allowed_hosts=(), runtime_api="")
        assert (caught.value.status, caught.value.code) == (400, "UrlNotAllowed")


def test_public_addresses_pass() -> None:
    target = parse_url("http://photos.example/", ())
    check_addresses(target, ["93.184.216.34", "8.8.8.8", "2606:4700::1111"], allowed_hosts=(), runtime_api="")


@pytest.mark.parametrize(
    "address", [address for address in BLOCKED if address not in ("127.0.0.1", "127.8.9.10", "::1")]
)
def test_the_allow_list_opens_loopback_and_nothing_else(address: str) -> None:
    allowed = ("photos.example:8123",)
    target = parse_url("http://photos.example:8123/", allowed)
    check_addresses(target, ["127.0.0.1", "::1"], allowed_hosts=allowed, runtime_api="127.0.0.1:9001")
    if address != "::ffff:127.0.0.1":
        with pytest.raises(Refusal):
            check_addresses(target, [address], allowed_hosts=allowed, runtime_api="127.0.0.1:9001")


@pytest.mark.parametrize(("port", "runtime_api"), [(9001, ""), (8123, "127.0.0.1:8123")])
def test_the_runtime_api_is_refused_even_if_allow_listed(port: int, runtime_api: str) -> None:
    allowed = (f"127.0.0.1:{port}",)
    with pytest.raises(Refusal) as caught:
        check_addresses(
            parse_url(f"http://127.0.0.1:{port}/", allowed),
            ["127.0.0.1"],
            allowed_hosts=allowed,
            runtime_api=runtime_api,
        )
    assert caught.value.code == "UrlNotAllowed"


NAMESPACE = """
import socket, subprocess, sys, threading, time
sys.path.insert(0, sys.argv[1])
from fetch import FetchPolicy, fetch
from refusal import Refusal
from timing import Budget

V4 = ["169.254.169.254", "10.0.0.1", "192.168.7.7", "100.64.0.9", "172.16.3.4"]
V6 = ["fd00:ec2::254", "64:ff9b::a00:1", "2002:a00:1::1"]
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for address in V4:
    subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
for address in V6:
    subprocess.run(["ip", "-6", "addr", "add", f"{address}/128", "dev", "lo", "nodad"], check=True)
seen = []
def listen(family, host, port):
    listener = socket.create_server((host, port), family=family)
    def accept():
        while True:
            connection, peer = listener.accept()
            seen.append(connection.getsockname()[0])
            connection.recv(9999)
            connection.sendall(b"HTTP/1.1 302 Found\\r\\nLocation: http://169.254.169.254/\\r\\n\\r\\n")
            connection.close()
    threading.Thread(target=accept, daemon=True).start()
for port in (80, 9001):
    listen(socket.AF_INET, "0.0.0.0", port)
    listen(socket.AF_INET6, "::", port)
urls = [f"http://{a}/" for a in V4 + ["127.0.0.1", "0.0.0.0", "127.0.0.1:9001"]]
urls += [f"http://[{a}]/" for a in V6 + ["::1"]]
named = ["http://%s/" % host for host in ("localhost", "localhost.", "rebound.example", "127.0.0.1.nip.example")]
mixed = FetchPolicy(1000, resolver=lambda host, port: ["93.184.216.34", "127.0.0.1"])
for url in urls + named:
    try:
        fetch(url, mixed, Budget(time.monotonic() + 20))
        sys.exit(f"{url} was fetched")
    except Refusal as refusal:
        assert refusal.status == 400, (url, refusal)
assert not seen, seen
try:  # the redirect itself is allowed, its destination is not
    opened = FetchPolicy(1000, allowed_hosts=frozenset({"127.0.0.1:80"}))
    fetch("http://127.0.0.1:80/", opened, Budget(time.monotonic() + 20))
except Refusal as refusal:
    assert refusal.code == "UrlNotAllowed", refusal
assert seen == ["127.0.0.1"], seen
for address in V4 + V6:  # the listener would have counted these connections
    with socket.create_connection((address, 80)) as control:
        control.sendall(b"x")
        control.recv(99)
assert len(seen) == 1 + len(V4 + V6), seen
print("unseen")
"""


def can_unshare() -> bool:
    return subprocess.run(["unshare", "-rn", "ip", "addr"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux" or not can_unshare(), reason="needs user and network namespaces, and ip")
def test_listeners_on_the_blocked_addresses_see_no_connection() -> None:
    command = ["unshare", "-rn", sys.executable, "-c", NAMESPACE, str(CLASSIFY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "unseen", done.stderr


@pytest.mark.parametrize("allowed", [("127.0.0.1:*",), ("*",), ("127.0.0.1",), ("127.0.0.1:8123",)])
def test_only_a_port_that_is_named_opens_loopback(allowed: tuple[str, ...]) -> None:
    for url in ("http://127.0.0.1:4577/", "http://localhost:8123/", "http://127.0.0.2:8123/"):
        with pytest.raises(Refusal, match="port"):
            parse_url(url, allowed)
    with pytest.raises(Refusal, match="not public"):
        check_addresses(parse_url("http://localhost/", allowed), ["127.0.0.1"], allowed_hosts=allowed, runtime_api="")

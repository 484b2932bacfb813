"""A server answers to its own names, and of the pages that a browser shows to its own only."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys

import psutil
import pytest
import requests

from gnvpro.apps.serving.connections import Connections, Waiting
from gnvpro.apps.serving.hosts import Hosts
from gnvpro.surrogate.errors import UsageError
from tests.apps.serving.conftest import serving

ASKED = {"name": "smooth", "input": [[0.1, 0.2, 0.3]]}
PAGE = {"Content-Type": "application/json"}


def ask(server, **headers):
    return requests.post(f"{server.url}/Evaluate", data=json.dumps(ASKED), headers=headers, timeout=60)


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({}, 200, ""),
        ({"Content-Type": "text/plain"}, 200, ""),
        ({"Host": "localhost"}, 200, ""),
        ({"Host": "LOCALHOST.:80"}, 200, ""),
        ({"Host": "gnvpro.localhost:4242"}, 200, ""),
        ({"Host": "127.3.2.1"}, 200, ""),
        ({"Host": "[::1]:4242"}, 200, ""),
        ({"Host": "evil.example"}, 403, "'evil.example' is no name of this server; if it is one, see --allow-host"),
        ({"Host": "localhost.evil.example:4242"}, 403, "no name of this server"),
        ({"Host": "192.0.2.7"}, 403, "no name of this server"),
        ({"Host": "evil.example@localhost"}, 403, "no name of this server"),
        ({"Host": ""}, 403, "no name of this server"),
        ({"Host": "\xff"}, 403, "no name of this server"),
        (
            {"Content-Type": "text/plain", "Origin": "http://evil.example"},
            403,
            "page of another site (http://evil.example)",
        ),
        ({**PAGE, "Origin": "http://evil.example"}, 403, "page of another site"),
        ({**PAGE, "Origin": "\xff"}, 403, "page of another site"),
        ({**PAGE, "Origin": "http://localhost:1"}, 403, "page of another site"),
        ({**PAGE, "Origin": "null"}, 403, "page of another site (null)"),
        ({**PAGE, "Sec-Fetch-Site": "cross-site"}, 403, "page of another site (cross-site)"),
        ({**PAGE, "Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1"}, 403, "page of another site"),
        ({**PAGE, "Sec-Fetch-Site": "same-origin"}, 200, ""),
        ({**PAGE, "Origin": "http://OWN"}, 200, ""),
        ({"Content-Type": "text/plain", "Origin": "http://OWN"}, 415, "has to send application/json, got text/plain"),
        ({"Content-Type": "text/plain", "Sec-Fetch-Site": "same-origin"}, 415, "has to send application/json"),
    ],
)
def test_names_and_pages(server, headers, status, words):
    own = server.url.removeprefix("http://")
    answer = ask(server, **{name: value.replace("OWN", own).encode("latin-1") for name, value in headers.items()})
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if status == 200:
        assert "output" in answer.json()
    else:
        assert answer.json()["error"]["type"] == "InvalidInput"
        assert words in answer.json()["error"]["message"]


def test_a_name_that_leads_here_reads_nothing(server):
    for path in ("/", "/Info", "/health", "/page/models"):
        assert requests.get(server.url + path, headers={"Host": "evil.example"}).status_code == 403
        link = requests.get(server.url + path, headers={"Sec-Fetch-Site": "cross-site"})  # a link to the page
        assert link.status_code == 200


def test_where_it_listens_decides_under_which_names_it_is_asked():
    everywhere = Hosts.of("0.0.0.0")
    assert everywhere.knows("192.0.2.7:4242")
    assert everywhere.knows("[2001:db8::1]")
    assert everywhere.knows(socket.gethostname())
    assert not everywhere.knows("evil.example")
    assert Hosts.of("models.example.org").knows("Models.Example.org:4242")
    proxied = Hosts.of("127.0.0.1", ["models.example.org:8443"])
    assert proxied.knows("models.example.org")
    assert not proxied.knows("192.0.2.7")
    with pytest.raises(UsageError, match=r"allow_host: expected a name such as .*, got 'http://a'"):
        Hosts.of("127.0.0.1", ["http://a"])


@pytest.mark.long
def test_a_page_behind_a_proxy_of_another_name(smooth, tmp_path):
    page = {**PAGE, "Origin": "https://models.example.org"}
    with serving(tmp_path / "log", smooth, "--allow-host", "models.example.org") as running:
        assert ask(running, **page).status_code == 200  # the proxy changed the host
        assert ask(running, **page, Host="models.example.org").status_code == 200
        assert ask(running, **PAGE, Origin="https://evil.example").status_code == 403


NO_HTTP = {
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n": "HTTPS traffic",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n": "expected HTTP",
    b"POST /Evaluate HTTP/1.1\r\nHost: localhost\r\nContent-Length: -2\r\n\r\n{}": "Content-Length",
    b"POST /Evaluate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": "chunk size",
    b"GET /Info HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n": "Duplicate 'Host'",
    b"POST /Evaluate HTTP/1.1\r\nHost: localhost\r\nExpect: money\r\nContent-Length: 2\r\n\r\n{}": "Expectation Failed",
}


@pytest.mark.parametrize("sent", NO_HTTP)
def test_what_is_no_http_is_one_line_in_the_log_and_a_proper_answer(server, sent):
    before = len(server.log)
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=60) as line:
        line.sendall(sent)
        head, _, body = line.makefile("rb").read1(65536).partition(b"\r\n\r\n")
    assert head.split()[1] in (b"400", b"417")
    assert b"X-Content-Type-Options: nosniff" in head
    error = json.loads(body)["error"]
    assert error["type"] == "InvalidInput"
    assert NO_HTTP[sent] in error["message"]
    lines = server.log_file.read_text().splitlines()
    assert all(line.startswith("{") for line in lines)
    new = server.log[before:]
    assert len(new) == 1
    assert NO_HTTP[sent] in new[0]["error"]


def half_open(port, n):
    """So many requests whose bodies do not come."""
    lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(n)]
    for line in lines:
        line.sendall(b"POST /Evaluate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
    return lines


@pytest.mark.long
def test_half_sent_requests_take_no_place(smooth, tmp_path):
    """More of them than requests may be in work, and than there may be connections."""
    with serving(tmp_path / "log", smooth, "--max-requests", 8) as running, contextlib.ExitStack() as stack:
        port = int(running.url.rpartition(":")[2])
        for _ in range(4):
            for line in half_open(port, 12):
                stack.enter_context(line)
            assert ask(running).status_code == 200
            assert requests.get(f"{running.url}/health").json()["requests_in_work"] == 0
        process = psutil.Process(running.process.pid)
        open_ones = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED]
        assert len(open_ones) <= 2 * 8
        said = [line["error"] for line in running.log if line.get("status") == 408]
        assert said
        assert "others needed its place" in said[0]


def test_a_server_that_stops_waits_for_no_body():
    async def never():
        waiting = Waiting(2)
        asyncio.get_running_loop().call_soon(waiting.end_all)
        async with waiting.arrival(1e6):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(never())


class Line:
    ended = False

    def abort(self):
        self.ended = True


def test_the_connection_that_did_nothing_for_longest_is_closed():
    connections = Connections(2)
    first, second, third = Line(), Line(), Line()
    connections.opened(first)
    connections.opened(second)
    connections.begin(first)
    connections.opened(third)
    assert [each.ended for each in (first, second, third)] == [False, True, False]
    connections.end(first)
    connections.closed(third)
    connections.closed(third)
    connections.opened(Line())
    assert not first.ended


def test_records_and_warnings_are_lines_of_the_log():
    code = (
        "import logging, warnings\n"
        "from gnvpro.apps.serving.request_log import RequestLog, everything_in\n"
        "with everything_in(RequestLog()):\n"
        "    logging.getLogger('a').warning('first %s', 1)\n"
        "    warnings.warn('second')\n"
        "    try:\n        1 / 0\n"
        "    except ZeroDivisionError:\n        logging.getLogger('b').exception('third \\udcff')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, third = map(json.loads, ran.stderr.splitlines())
    assert (first["event"], first["logger"], first["message"]) == ("warning", "a", "first 1")
    assert second["message"] == "UserWarning: second"
    assert third["event"] == "error"
    assert "ZeroDivisionError" in third["traceback"]

"""A server among clients that send anything but requests: it lives, answers who asks rightly, and does not grow."""

import contextlib
import gzip
import json
import random
import socket
import struct
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import requests

from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.training.train import TrainSettings, train
from tests.apps.serving.conftest import points, serving
from tests.training.problems import smooth_samples

CLIENTS, HELD = 8, 70  # of its slow connections each client holds so many open: more than the server has places for
BOMB = gzip.compress(b" " * 20_000_000)
Y = [0.1, 0.2, 0.3]
GOOD = {"name": "smooth", "input": [Y], "outWrt": 0, "inWrt": 0, "inWrt1": 0, "inWrt2": 0, "sens": [1.0] * 7, "vec": Y}
OPERATIONS = ("Evaluate", "Gradient", "ApplyJacobian", "ApplyHessian", "ModelInfo", "InputSizes")
BODIES = (
    *(b"", b"{", b"null", b"[]", b'"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"[" * 10**5 + b"]" * 10**5),
    *(b"1" * 5000, b"a=1&b=2", b" " * 1_000_001, b'{"name": "smooth", "name": "other"}', b"NaN"),
    *(b'{"name": "smooth", "input": [[%s, 0, 0]]}' % v for v in (b"NaN", b"-Infinity", b"1e400", b"9" * 5000, b"0x1")),
    *(b'{"name": "smooth", "input": [[%s, 0, 0]]}' % v for v in (b"[" * 5000 + b"]" * 5000, b'"\\ud800"', b"01", b"")),
    b'{"name": "smooth", "input": [[' + b"1," * 200_000 + b"1]]}",
)
VALUES = (
    None,
    True,
    -1,
    1e308,
    10**30,
    "",
    "smooth\x00",
    [],
    [[]],
    {},
    [None],
    [Y, Y],
    [Y[:2]],
    [[*Y, 1]],
    {"a": {"b": [1]}},
)

KINDS = (
    *("body", "body", "value", "value", "key", "changed", "noise", "length", "chunks", "encoding"),
    *("head", "stranger", "pipeline", "page", "path"),
)


@pytest.fixture(scope="module")
def smooth(tmp_path_factory):
    """Three parameters to seven observables."""
    folder = tmp_path_factory.mktemp("model") / "smooth"
    train(smooth_samples().split(0), TrainSettings(widths=(5,), gain=1.0, budget=40)).save(folder)
    return folder


def http(method, path, body=b"", *headers, length=None, host="localhost"):
    length = len(body) if length is None else length
    lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {length}", *headers)
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def request(draw):
    """A kind of fault, and the bytes."""
    good, path = json.dumps(GOOD).encode(), f"/{draw.choice(OPERATIONS)}"
    some = draw.randbytes(draw.randrange(1, 300))
    kind = draw.choice(KINDS)
    match kind:
        case "body":
            return kind, http("POST", path, draw.choice((*BODIES, some)))
        case "value":
            wrong = GOOD | {draw.choice([*GOOD, "config"]): draw.choice(VALUES)}
            return kind, http("POST", path, json.dumps(wrong).encode())
        case "key":
            wrong = {key: value for key, value in GOOD.items() if key != draw.choice([*GOOD])}
            return kind, http("POST", path, json.dumps(wrong | {"config": {"trust": draw.choice(VALUES)}}).encode())
        case "noise":
            return kind, draw.choice((some, some + b"\r\n\r\n", b"\x16\x03\x01" + some, b"A" * 100_000, b"\r\n" * 1000))
        case "changed":
            sent = bytearray(http("POST", path, good))
            for _ in range(draw.randrange(1, 6)):
                at = draw.randrange(len(sent))
                sent[at : at + draw.randrange(2)] = draw.randbytes(draw.randrange(3))
            return kind, bytes(sent)
        case "length":
            length = draw.choice((-1, "x", 10**30, "1, 2", "", "0x10", 3, len(good) - 1, "5\r\nContent-Length: 6"))
            return kind, http("POST", path, good, length=length)
        case "chunks":
            nonsense = draw.choice(
                (b"zz\r\n", b"-1\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"5;" + some)
            )
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {draw.choice(('chunked', 'x, chunked'))}"
            return kind, head.encode() + b"\r\n\r\n" + nonsense
        case "encoding":
            encoding = draw.choice(("gzip", "deflate", "br", "zstd", "nonsense"))
            return kind, http("POST", path, draw.choice((BOMB, some, good, BOMB[:50])), f"Content-Encoding: {encoding}")
        case "head":
            odd = draw.choice(
                ("a" * 100_000 + ": 1", "no colon", ": no name", "x: \x00", "x: \xff", "Expect: money", "é: 1")
            )
            more = [f"x{i}: 1" for i in range(draw.choice((0, 1000)))]
            return kind, http(draw.choice(("POST", "PUT", "\xff", "get", "TRACE")), path, good, odd, *more)
        case "stranger":
            headers = (f"Origin: http://{some[:20].hex()}", "Sec-Fetch-Site: cross-site", "Content-Type: text/plain")
            host = draw.choice(("evil.example", "localhost", "[", "\xff", "", "127.0.0.1@evil"))
            return kind, http("POST", path, good, *draw.sample(headers, 2), host=host)
        case "pipeline":
            rubbish = draw.choice((b"", some, b"GET\r\n\r\n"))
            return kind, http("POST", path, good) * draw.randrange(1, 60) + rubbish
        case "page":
            parameters = draw.choice((*VALUES, Y))
            body = json.dumps({"model": draw.choice(("smooth", "x", 1)), "parameters": parameters}).encode()
            return kind, http("POST", f"/page/{draw.choice(('evaluate', 'solve', 'models'))}", body)
        case _:
            odd = draw.choice(
                ("/%ff", "//", "/../../etc/passwd", "*", "/" + "a" * 9000, "/Info?" + "a" * 500, "http://b/")
            )
            return kind, http(draw.choice(("GET", "POST", "OPTIONS", "CONNECT")), odd, good)


def answer(line):
    """The status, once everything about the answer is as it must be; None where there is none."""
    try:
        with line.makefile("rb") as file:
            status = file.readline().split()
            headers = dict(h.split(b": ", 1) for h in iter(lambda: file.readline().strip(), b""))
            body = file.read(int(headers[b"Content-Length"]))
    except (OSError, ValueError, IndexError, KeyError):
        return None
    if not status:
        return None
    assert headers[b"X-Content-Type-Options"] == b"nosniff"
    if headers[b"Content-Type"] == b"application/json":
        assert ("error" in json.loads(body)) == (status[1] != b"200")
    return int(status[1])


def bad_client(port, seed, n):
    """n faults: sent at once, in part, or slowly, with and without waiting for an answer; what came back, counted."""
    draw, came, slow = random.Random(seed), Counter(), []
    for _ in range(n):
        kind, sent = request(draw)
        line = socket.create_connection(("127.0.0.1", port), timeout=5)
        how = draw.choices(("answered", "gone", "reset", "slow"), (0.7, 0.1, 0.1, 0.1))[0]
        with contextlib.suppress(OSError):
            if how == "slow":  # no end of its head, or of its body
                line.sendall(
                    draw.choice((b"POST /Evaluate HTTP/1.1\r\nHo", http("POST", "/Evaluate", b"{", length=50)))
                )
                slow.append(line)
            else:
                line.sendall(sent[: draw.randrange(len(sent)) if how == "reset" else len(sent)])
        if how == "slow":
            if len(slow) > HELD:
                slow.pop(0).close()
            with contextlib.suppress(OSError):
                draw.choice(slow).sendall(b"a")
            came["slow"] += 1
            continue
        if how == "reset":  # no farewell: what is under way is lost
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "answered":
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_WR)
            how = f"{answer(line)}"
        line.close()
        came[how] += 1
        if how.startswith("5"):
            came[f"500 by {kind}: {sent[:300]!r}"] += 1
    for line in slow:
        line.close()
    return came


def good_client(url, surrogate, stop):
    """Asks until it is told to stop, on new connections and on one that is kept; counts right answers."""
    y, right = points(50, seed=4), 0
    expected = surrogate.evaluate(y)
    with requests.Session() as session:
        while not (right and stop.is_set()):
            ask = session.post if right % 2 else requests.post
            k = right % len(y)
            got = ask(f"{url}/Evaluate", json={"name": "smooth", "input": [y[k].tolist()]}, timeout=60)
            assert got.status_code == 200, got.text
            np.testing.assert_allclose(
                got.json()["output"][0], expected[k], rtol=0, atol=1e-13 * np.abs(expected).max()
            )
            assert requests.get(f"{url}/health", timeout=60).json()["status"] == "ok"
            right += 1
    return right


def test_malformed_and_slow_requests(smooth, tmp_path, repeats, fault_rng, fault_figures):
    n, rounds = repeats(10, 250), 5
    came, memory, right, stop = Counter(), [], 0, threading.Event()
    with serving(tmp_path / "log", smooth) as running, ThreadPoolExecutor(CLIENTS + 1) as pool:
        port, process = int(running.url.rpartition(":")[2]), psutil.Process(running.process.pid)
        good = pool.submit(good_client, running.url, Surrogate.load(smooth), stop)
        for _ in range(rounds):
            seeds = fault_rng.integers(2**32, size=CLIENTS).tolist()
            for each in pool.map(bad_client, [port] * CLIENTS, seeds, [n] * CLIENTS):
                came += each
            memory.append(process.memory_info().rss / 1e6)
        stop.set()
        right = good.result(120)
        code, counts = running.stop()
    lines = [json.loads(line) for line in running.log_file.read_text().splitlines()]  # JSON, all of them
    assert code == 0
    assert {line["event"] for line in lines} == {"listening", "request", "stopping", "stopped"}
    assert not [what for what in came if what.startswith("5")], came
    assert memory[-1] - memory[0] < 20
    sent = CLIENTS * n * rounds
    assert came.total() == sent
    fault_figures(
        "malformed requests, 8 clients, and slow ones",
        sent=sent, came=dict(came), right_answers_meanwhile=right, errors_counted=counts["errors"],
        memory_mb=[round(each, 1) for each in memory], log_lines=len(lines),
    )  # fmt: skip

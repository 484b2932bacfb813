"""Latency, throughput and steadiness of `gnvpro serve`: `make bench`, or python -m tests.benchmarks.serving MODEL.

The server is a process of its own, the load is made by this one: on two cores they have one each. Wall time, since that
is what a client waits; on a machine with other work the figures are those of the other work too, so phases are repeated and
medians given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
import psutil

from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.model.surrogate import Surrogate

CLIENTS, MALFORMED = 32, 0.01
# Each with the type of error that has to come back.
BROKEN: tuple[tuple[bytes, str], ...] = (
    (b'{"name": "served", "input": [[1, 2', "InvalidInput"),
    (b'{"name": "served", "input": [[NaN]]}', "InvalidInput"),
    (b'{"name": "served", "input": [[1.0, 2.0]]}', "InvalidInput"),
    (b'{"name": "served", "input": "all"}', "InvalidInput"),
    (b'{"name": "another", "input": [[1.0]]}', "ModelNotFound"),
    (b"\xff\xfe\x00", "InvalidInput"),
    (b"[" * 100_000, "InvalidInput"),
    (b'{"input": [' + b"[1.0]," * 300_000 + b"[1.0]]}", "InvalidInput"),
)


@contextmanager
def running(model: Path, *options: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server of the model under the name `served`: its address and its process."""
    with tempfile.TemporaryFile("w+") as log:
        words = ["serve", f"served={model}", "--port", "0", "--log", "requests", *options]
        process = subprocess.Popen([sys.executable, "-c", _MAIN, *words], stderr=log, stdout=subprocess.DEVNULL)
        try:
            yield _address(process, log), psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


_MAIN = "from gnvpro.apps.cli import main; main()"


def _address(process: subprocess.Popen, log: Any) -> str:
    while process.poll() is None:
        time.sleep(0.05)
        log.seek(0)
        for line in log.read().splitlines():
            if line.startswith("{") and (said := json.loads(line)).get("event") == "listening":
                return said["url"]
    log.seek(0)
    raise RuntimeError(f"the server did not start: {log.read()}")


def requests_of(model: Path, n: int = 512) -> list[bytes]:
    """Bodies of Evaluate at points of the training range."""
    surrogate = Surrogate.load(model)
    points = draw(surrogate.parameters, 7, np.arange(4 * n))
    points = points[surrogate.inside(points)][:n]
    return [orjson.dumps({"name": "served", "input": [y.tolist()], "config": {}}) for y in points]


def posterior_requests(n_in: int, n: int = 512) -> list[bytes]:
    """The same of the log density of so many normal variables."""
    z = np.random.default_rng(7).standard_normal((n, n_in))
    return [orjson.dumps({"name": "served-posterior-normal", "input": [row.tolist()], "config": {}}) for row in z]


def posterior(model: Path, n: int = 1000, repeats: int = 7) -> dict[str, Any]:
    """Requests of one client to a model and to its posterior, in turn: p50 in ms, CPU of the server for one in microseconds.

    Observations are what the model says at the middle of its prior, with 5 % noise.
    """
    surrogate = Surrogate.load(model)
    data = surrogate.evaluate(draw(surrogate.parameters, 0, np.arange(1)))[0]
    n_in = int((~surrogate.parameters.fixed).sum())
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        observed = Path(folder) / "observed.npy"
        np.save(observed, data)
        with running(model, "--posterior", str(observed), "--noise", f"5%+{0.01 * np.abs(data).max():g}") as (
            url,
            server,
        ):
            asked = {
                "model": ("Evaluate", requests_of(model)),
                "posterior": ("Evaluate", density := posterior_requests(n_in)),
                "gradient of the posterior": ("Gradient", [_gradient_of(body) for body in density]),
            }
            each: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
            for _ in range(repeats):
                for name, (operation, bodies) in asked.items():
                    before = sum(server.cpu_times()[:2])
                    seconds = _run(_one_client(url, bodies, n, operation))
                    cpu = (sum(server.cpu_times()[:2]) - before) / (n + 20)
                    each[name].append((1e3 * float(np.median(seconds)), 1e6 * cpu))
            for name, runs in each.items():
                p50, cpu = zip(*runs, strict=True)
                found[name] = {
                    "p50_ms": statistics.median(p50),
                    "best_p50_ms": min(p50),
                    "cpu_us": statistics.median(cpu),
                    "best_cpu_us": min(cpu),
                }
            bodies = asked["posterior"][1]
            found["evaluations_per_second"] = {
                "model": throughput(url, asked["model"][1], 3.0, 3)["evaluations_per_second"],
                "posterior": throughput(url, bodies, 3.0, 3)["evaluations_per_second"],
            }
    return found


def _gradient_of(body: bytes) -> bytes:
    return orjson.dumps(orjson.loads(body) | {"outWrt": 0, "inWrt": 0, "sens": [1.0]})


async def _one_client(url: str, bodies: list[bytes], n: int, operation: str = "Evaluate") -> list[float]:
    """Seconds of n requests, one after the other on one connection."""
    seconds = []
    async with aiohttp.ClientSession() as session:
        for i in range(n + 20):
            began = time.perf_counter()
            async with session.post(f"{url}/{operation}", data=bodies[i % len(bodies)]) as answer:
                content = await answer.read()
            seconds.append(time.perf_counter() - began)
            assert answer.status == 200, content
    return seconds[20:]


async def _many_clients(url: str, bodies: list[bytes], seconds: float, malformed: float) -> Counter[str]:
    """What came back to `CLIENTS` clients, each with a connection and a request under way at all times."""
    found: Counter[str] = Counter()
    end = time.perf_counter() + seconds

    async def client(k: int) -> None:
        rng, i = np.random.default_rng(k), k
        async with aiohttp.ClientSession() as session:
            while time.perf_counter() < end:
                wrong = malformed and rng.random() < malformed
                body, expected = BROKEN[rng.integers(len(BROKEN))] if wrong else (bodies[i % len(bodies)], None)
                i += 1
                try:
                    async with session.post(f"{url}/Evaluate", data=body) as answer:
                        content = orjson.loads(await answer.read())
                except (aiohttp.ClientError, orjson.JSONDecodeError) as error:
                    found[f"unanswered: {type(error).__name__}"] += 1
                    continue
                got = content["error"]["type"] if "error" in content else None
                found[
                    "right" if not wrong and got is None else "refused" if wrong and got == expected else "wrong"
                ] += 1

    await asyncio.gather(*map(client, range(CLIENTS)))
    return found


def latency(url: str, bodies: list[bytes], n: int = 2000, repeats: int = 5) -> dict[str, Any]:
    """p50 and p99 in ms of a single keep-alive client."""
    runs = [1e3 * np.array(_run(_one_client(url, bodies, n))) for _ in range(repeats)]
    found: dict[str, Any] = {"requests": n, "repeats": repeats}
    for p in (50, 99):
        each = [float(np.percentile(run, p)) for run in runs]
        found[f"p{p}_ms"], found[f"p{p}_ms_each"] = statistics.median(each), each
    return found


def throughput(url: str, bodies: list[bytes], seconds: float = 5.0, repeats: int = 5) -> dict[str, Any]:
    """Evaluations a second of the many clients."""
    rates, answers = [], Counter[str]()
    for _ in range(repeats):
        began = time.perf_counter()
        found = _run(_many_clients(url, bodies, seconds, 0.0))
        rates.append(found["right"] / (time.perf_counter() - began))
        answers += found
    return {
        "clients": CLIENTS,
        "evaluations_per_second": statistics.median(rates),
        "evaluations_per_second_each": rates,
        "answers": dict(answers),
    }


def endurance(url: str, bodies: list[bytes], server: psutil.Process, seconds: float) -> dict[str, Any]:
    """The same load with some malformed requests, and the memory of the server (MB) in ten equal parts of the time."""
    memory, answers = [], Counter[str]()
    for _ in range(10):
        answers += _run(_many_clients(url, bodies, seconds / 10, MALFORMED))
        memory.append(server.memory_info().rss / 1e6)
    return {
        "seconds": seconds,
        "malformed": MALFORMED,
        "answers": dict(answers),
        "memory_mb": memory,
        "growth_mb_after_first_tenth": memory[-1] - memory[0],
        "alive": server.is_running(),
    }


def serving(model: Path, seconds: float) -> dict[str, Any]:
    """All three, and the share of a core that the server had under load."""
    bodies = requests_of(model)
    with running(model) as (url, server):
        single = latency(url, bodies)
        cpu, began = sum(server.cpu_times()[:2]), time.perf_counter()
        many = throughput(url, bodies)
        many["server_cpu_share"] = (sum(server.cpu_times()[:2]) - cpu) / (time.perf_counter() - began)
        many["server_cpu_us_per_request"] = 1e6 * (sum(server.cpu_times()[:2]) - cpu) / many["answers"]["right"]
        lasting = endurance(url, bodies, server, seconds)
    return {"one client": single, "many clients": many, "endurance": lasting, "posterior": posterior(model)}


def _run(coroutine: Any) -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


def main() -> None:
    """Measure a saved model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the run with malformed requests")
    given = parser.parse_args()
    print(json.dumps(serving(given.model, given.seconds), indent=1))


if __name__ == "__main__":
    main()

"""Forward models for the page, one of every picture, and a server of them in a thread."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import numpy as np
from aiohttp import web

from gnvpro.pde_data.problems.scene import Shape, View
from gnvpro.surrogate.spaces import Axis, Space

MIXTURE = Space.vector(
    [f"{kind}_K{k}" for k in (5, 9, 13, 17) for kind in ("hill", "haldane", "ignition", "decay")],
    constraint="simplex",
    law="normalised_uniform",
    lower=(0.0,) * 16,
    upper=(1.0,) * 16,
)


class Smooth:
    """c = A(y) + curvature * |y|^2, any spaces; `curvature` apart is what surrogate and PDE differ by."""

    def __init__(self, parameters, observables, curvature=0.0):
        self.parameters, self.observables, self.curvature = parameters, observables, curvature
        self._map = np.random.default_rng(0).standard_normal((parameters.size, observables.size))

    def evaluate(self, y):
        y = self.parameters.rows(y)
        return y @ self._map + self.curvature * (y**2).sum(axis=1, keepdims=True)

    def jvp(self, y, dy):
        return dy @ self._map + 2 * self.curvature * (y * dy).sum(axis=1, keepdims=True)

    def vjp(self, y, dc):
        return dc @ self._map.T + 2 * self.curvature * y * dc.sum(axis=1, keepdims=True)


BOX = Space.vector(["depth", "volume"], units=("m", "m3"), lower=(0.4, 1.0), upper=(0.8, 2.0), law="uniform")
IMAGES = Space(
    (Axis("difference", ("x1", "x2")), Axis("x1", (-1.0, 0.0, 1.0), "m"), Axis("x2", (0.0, 0.5), "m")), ("V/A",)
)
CURVES = Space((Axis("time", (0.1, 0.2, 0.4), "s"), Axis("sensor", ("0", "1"))), ("K",))
LINE = Space.vector(["sine", "product", "decay"], axis="observable")


class Trained(Smooth):
    """It was trained on a part of its space."""

    training: ClassVar = {"bounds": {"lower": [0.5, 1.2], "upper": [0.7, 1.8]}}

    def inside(self, y):
        return ((y >= [0.48, 1.14]) & (y <= [0.72, 1.86])).all(axis=1)


class Imaged(Smooth):
    """Two images over a background."""

    background = np.full(12, 0.1)


def models(curvature=0.0):
    """By name; another curvature makes the PDE of it."""
    return {
        "curves": Smooth(MIXTURE, CURVES, curvature),
        "images": Imaged(BOX, IMAGES, curvature),
        "line": Smooth(BOX, LINE, curvature),
        "trained": Trained(BOX, LINE, curvature),
    }


def scenes():
    """What two of them show of their domains: a body that grows with depth, and sensors."""
    corners = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)])
    ends = ((-1.0, 1.0), (-1.0, 1.0))
    sensors = Shape(
        "sensors", corners[:2] / 2, "sensors", np.arange(6).reshape(3, 2).T, ("time 0.1", "time 0.2", "time 0.4")
    )
    ground = View("from above", ("x1 (m)", "x2 (m)"), ends, (Shape("points", corners, "electrodes"),))
    return {
        "images": lambda y: [replace(ground, shapes=(*ground.shapes, Shape("area", y[0] * corners, "the body")))],
        "curves": lambda y: [View("sensors", ("x", "y"), ends, (Shape("line", corners, "the domain"), sensors))],
    }


@contextmanager
def serving(routes):
    """Address of a plain application with these routes, its loop in a thread of its own."""
    loop, started, address = asyncio.new_event_loop(), threading.Event(), []

    async def start():
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        started.set()
        return runner

    def run():
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(30)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)

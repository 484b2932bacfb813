"""Checkpoints of a training run, which resumes from them with the same bits.

A run is a fixed sequence of advances of its fits, so it is repeated from the start: advances that the checkpoint knows
to be finished are skipped with what was seen at their end, the one that was cut short goes on
(`gnvpro.training.fitting.fit.Fit.restore`).

The folder holds `checkpoint.json` and one safetensors file a fit. Files are written under new names and the index is
replaced last, in one move: whenever a process is killed, the folder is a whole checkpoint, the newest or the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import scipy
import torch
from torch import nn

from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.samples import Split
from gnvpro.surrogate.writing import named, require_writable
from gnvpro.training.fitting.fit import Fit, FitState
from gnvpro.training.fitting.stored import Stored, restored, stored
from gnvpro.training.settings import TrainSettings

INDEX = "checkpoint.json"
EVERY = 200.0
_FORMAT, _SCHEMA_VERSION = "gnvpro checkpoint", 2
_OURS = re.compile(r"fit-\d+-\d+-\d+\.safetensors(\.new)?|checkpoint\.json(\.new)?")


class CheckpointError(UsageError):
    """A checkpoint that is damaged or belongs to another training; the message says what to do."""


def identity_of(split: Split, settings: TrainSettings, module: nn.Module | None) -> dict[str, Any]:
    """What a run's bits depend on: data, settings, a module's weights, versions; JSON-able.

    Test samples are not in it: they decide nothing.
    """
    data, network = hashlib.sha256(), hashlib.sha256()
    for samples in (split.train, split.validation):
        derivatives = () if samples.directions is None else (samples.directions, samples.derivatives)
        for values in (samples.parameters, samples.observables, samples.background, *derivatives):
            data.update(
                b"none" if values is None else repr(values.shape).encode() + np.ascontiguousarray(values).tobytes()
            )
    for name, value in module.state_dict().items() if module is not None else ():
        network.update(name.encode() + repr((value.dtype, value.shape)).encode())
        network.update(value.detach().cpu().contiguous().numpy().tobytes())
    try:
        ours = version("gnvpro")
    except PackageNotFoundError:
        ours = ""
    identity = {
        "data": data.hexdigest(),
        "settings": vars(settings),
        "module": None if module is None else f"{module} {network.hexdigest()}",
        "versions": {"gnvpro": ours, "torch": torch.__version__, "numpy": np.__version__, "scipy": scipy.__version__},
    }
    return json.loads(json.dumps(identity))


class Checkpoint:
    """A folder in which the state of a run is saved, every so many work units.

    `every` counts work units between writes; a checkpoint of a run with another `identity` (`identity_of`) is refused.
    `writes`: of several processes the first.

    Raises
    ------
    CheckpointError
        The folder's checkpoint is damaged or of another run.
    FileExistsError
        The folder holds something else.
    """

    def __init__(self, folder: str | Path, every: float, identity: dict[str, Any], writes: bool = True) -> None:
        if not every > 0:
            raise UsageError(f"expected work units between checkpoints > 0, got {every}")
        self._folder, self.every, self._identity, self._writes = path_of(folder), every, identity, writes
        _require_place(self._folder)
        self._files: dict[str, dict[str, str]] = {}
        if (self._folder / INDEX).exists():
            index = _read_index(self._folder / INDEX)
            _require_same(self._folder, index["identity"], identity)
            self._files = index["fits"]
        # Read at once: a damaged file is found before an hour is spent.
        self._stored = {stage: _read_state(self._folder / f["file"], f["sha256"]) for stage, f in self._files.items()}
        self._fits: list[Fit] = []
        self._written: dict[str, tuple[int, ...]] = {}
        self._last_total = 0.0

    def enrol(self, fit: Fit) -> Fit:
        """Have a fit in the checkpoint from now on; it is restored where the checkpoint knows its stage."""
        if any(fit.stage == other.stage for other in self._fits):
            raise UsageError(f"two fits of one run have the stage {fit.stage!r}; expected different ones")
        if fit.stage in self._stored:
            fit.restore(restored_fit(self._stored.pop(fit.stage), fit))
            self._written[fit.stage] = fit.position
        self._fits.append(fit)
        return fit

    def after_step(self) -> None:
        """Write, where enough work was done since the last time."""
        total = sum(fit.objective.meter.total for fit in self._fits)
        if total - self._last_total >= self.every:
            self.write()
            self._last_total = total

    def write(self) -> None:
        """Save all fits that have advanced since they were saved last."""
        if not self._writes:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for number, fit in enumerate(self._fits):
            if not any(fit.position) or self._written.get(fit.stage) == fit.position:
                continue
            name = f"fit-{number}-{'-'.join(map(str, fit.position[:2]))}.safetensors"
            content = _serialised(stored(fit.state()))
            _replace(self._folder / name, content)
            self._files[fit.stage] = {"file": name, "sha256": hashlib.sha256(content).hexdigest()}
            self._written[fit.stage] = fit.position
        index = {
            "format": _FORMAT,
            "schema_version": _SCHEMA_VERSION,
            "identity": self._identity,
            "fits": self._files,
        }
        _replace(self._folder / INDEX, json.dumps({**index, "sha256": _checksum(index)}, indent=1).encode())
        kept = {INDEX, *(f["file"] for f in self._files.values())}
        for path in self._folder.iterdir():
            if path.name not in kept and _OURS.fullmatch(path.name):
                path.unlink()


def restored_fit(content: Stored, fit: Fit) -> FitState:
    """The state that a fit, made with the same arguments, is to take up; its solver knows the type of its own."""
    like = fit.point.theta
    state: FitState = restored(FitState, content, like)
    solver = getattr(fit.solver, "state", None)
    return replace(state, solver=restored(type(solver), Stored(state.solver, content.tensors), like))


def _serialised(state: Stored) -> bytes:
    """Layouts are kept: the bits of a matrix product depend on the memory order of its factors."""
    transposed = [name for name, t in state.tensors.items() if not t.is_contiguous() and t.mT.is_contiguous()]
    tensors = {name: (t.mT if name in transposed else t).detach().contiguous() for name, t in state.tensors.items()}
    # One tensor may be in the state under two names, which safetensors refuses.
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    return safetensors.torch.save(tensors, {"values": json.dumps(state.values), "transposed": json.dumps(transposed)})


def _read_state(file: Path, expected: str) -> Stored:
    damaged = f"{file} is damaged; delete {file.parent} and train from the start"
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected:
        raise CheckpointError(damaged)
    with safetensors.safe_open(file, "pt") as stored:
        about = stored.metadata()
        # Cloned: memory aligned as torch does it, on which sums depend as well.
        tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118
    for name in json.loads(about["transposed"]):
        tensors[name] = tensors[name].mT
    return Stored(json.loads(about["values"]), tensors)


def _read_index(file: Path) -> dict[str, Any]:
    damaged = f"{file} is damaged; delete {file.parent} and train from the start"
    try:
        index = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(damaged) from error
    if not isinstance(index, dict) or index.get("format") != _FORMAT:
        raise CheckpointError(f"{file} does not describe a checkpoint; choose another folder")
    if index.get("schema_version") != _SCHEMA_VERSION:
        raise CheckpointError(
            f"{file} has schema version {index.get('schema_version')}, expected {_SCHEMA_VERSION}; "
            "resume with the gnvpro that wrote it, or train from the start in another folder"
        )
    if index.pop("sha256", None) != _checksum(index):
        raise CheckpointError(damaged)
    return index


def _require_place(folder: Path) -> None:
    if not folder.exists():
        require_writable(folder)
        return
    if not folder.is_dir() or any(not _OURS.fullmatch(path.name) for path in folder.iterdir()):
        raise FileExistsError(f"{folder} holds something that is not a checkpoint; choose another folder")


def _require_same(folder: Path, stored: dict[str, Any], ours: dict[str, Any]) -> None:
    differences = list(_differences(stored, ours))
    if differences:
        raise CheckpointError(
            f"the checkpoint in {folder} is of another training, they differ in {'; '.join(differences)}; "
            "choose another folder for this one"
        )


def _differences(stored: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
    for kind in ("settings", "versions"):
        for name in sorted({*stored[kind], *ours[kind]}):
            there, here = stored[kind].get(name), ours[kind].get(name)
            if there != here:
                yield f"{name if kind == 'settings' else f'version of {name}'} ({there} there, {here} here)"
    yield from (f"the {what}" for what in ("data", "module") if stored[what] != ours[what])


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or as it was, on disk before it has its name."""
    new = path.with_name(f"{path.name}.new")
    with named(path):
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)


def _checksum(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()

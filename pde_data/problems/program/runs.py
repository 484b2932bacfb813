"""One run of a program in a working directory of its own: its observables, or what became of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnvpro.pde_data.problems.contract import NoSampleAtFault, SolveFailed, SolveStatus
from gnvpro.pde_data.problems.program.inputs import Inputs, filled
from gnvpro.pde_data.problems.program.outputs import read_observables
from gnvpro.pde_data.problems.program.processes import STDERR, STDOUT, Processes
from gnvpro.pde_data.problems.program.settings import Settings
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Of what a program has printed last, in characters.
_LONGEST_END = 1000
# Variables that this process sets for itself, not for the program.
_OURS = {
    "UCX_TLS": "self,sm",
    "PETSC_OPTIONS": "-no_signal_handler",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "JULIA_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """How a program is run.

    Attributes
    ----------
    folder
        That of its TOML file.
    n_out
        Number of observables.
    """

    settings: Settings
    inputs: Inputs
    folder: Path
    n_out: int

    def observables(self, values: dict[str, Any], processes: Processes) -> Array:
        """Observables (n_out,) for values of the placeholders; raises SolveFailed."""
        kept = self.folder / self.settings.keep_in if self.settings.keep != "none" else None
        if kept:
            kept.mkdir(parents=True, exist_ok=True)
        try:
            working, status = Path(tempfile.mkdtemp(prefix="gnvpro-", dir=kept)).resolve(), None
        except OSError as error:
            raise NoSampleAtFault(f"no working directory can be made: {error}") from error
        try:
            try:
                self.inputs.write(working, values)
            except OSError as error:
                raise NoSampleAtFault(f"the working directory cannot be filled: {error}") from error
            observables = self._outcome(processes, working, values)
            status = SolveStatus.OK
            return observables
        except SolveFailed as failure:
            status = failure.status
            raise
        finally:
            if kept and status is not None and (self.settings.keep == "all" or status != SolveStatus.OK):
                _keep(working, kept, status, values)
            else:
                shutil.rmtree(working, ignore_errors=True)

    def _outcome(self, processes: Processes, working: Path, values: dict[str, Any]) -> Array:
        limit = self.settings.time_limit
        code = processes.run(self.inputs.command(values), working, self._environment(values), limit)
        if code is None:
            raise SolveFailed(_with_end(f"no end within {limit:g} s", working), SolveStatus.TIMED_OUT)
        if code < 0:
            raise SolveFailed(_with_end(f"signal {-code} ({_signal_name(-code)})", working), SolveStatus.SIGNAL)
        if code:
            raise SolveFailed(_with_end(f"exit code {code}", working), SolveStatus.EXIT_CODE)
        try:
            return read_observables(self.settings.observables, working, self.n_out)
        except UsageError as error:
            raise SolveFailed(_without(working, str(error))) from None

    def _environment(self, values: dict[str, Any]) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if _OURS.get(name) != value}
        threads = dict.fromkeys(_THREADS, str(self.settings.threads))
        return own | threads | {name: filled(text, values) for name, text in self.inputs.environment.items()}


def _with_end(what: str, working: Path) -> str:
    """What happened, and the end of standard error, or of standard output where it is empty."""
    ends = (_end_of(working / name) for name in (STDERR, STDOUT))
    end = next((end for end in ends if end), "")
    return _without(working, f"{what}: {end}" if end else what)


def _without(working: Path, text: str) -> str:
    """A text without the name of a folder that is another one at every run."""
    return text.replace(f"{working}/", "")


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4 * _LONGEST_END))
            text = file.read(4 * _LONGEST_END).decode(errors="replace").strip()
    except OSError:  # the program may have removed it
        return ""
    return text if len(text) <= _LONGEST_END else f"… {text[-_LONGEST_END:]}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those without a name
        return "real-time"


def _keep(working: Path, kept: Path, status: SolveStatus, values: dict[str, Any]) -> None:
    """Move a working directory to where it is kept, named by what became of it and by a hash of its parameters."""
    parameters = json.dumps(values, indent=1)
    (working / "placeholders.json").write_text(parameters)
    place = kept / f"{status.in_words.replace(' ', '-')}-{hashlib.sha256(parameters.encode()).hexdigest()[:12]}"
    shutil.rmtree(place, ignore_errors=True)
    working.rename(place)

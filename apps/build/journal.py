"""The journal of a build: what was decided, round by round, so that a build that was killed goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.writing import whole_file

NAME = "build.json"
SCHEMA_VERSION = 1
# The status of a build whose error is confirmed.
CONFIRMED = "confirmed"
# May differ when a build goes on: they say when it ends, not what there is.
_MAY_CHANGE = ("error", "max_solves", "max_cost")


class Journal:
    """A JSON document in the folder of the build's data, written anew after every decision."""

    def __init__(self, folder: Path, problem: Problem, settings: dict[str, Any]) -> None:
        """That of the folder where there is one, or a new one.

        Raises UsageError: the one in place is of another problem, or of other settings; the difference is named.
        """
        self._file = folder / NAME
        new = {
            "schema_version": SCHEMA_VERSION,
            "problem": problem.name,
            "definition_hash": definition_hash(problem.definition),
            "settings": settings,
            "costs": None,
            "coarse": [],
            "rounds": [],
            "status": None,
        }
        there = self._read()
        if there is not None:
            former = getattr(problem, "former_definition", None)
            if former is not None and there.get("definition_hash") == definition_hash(former):
                new["definition_hash"] = there["definition_hash"]
            self._require_same(there, new)
            changed = {name for name in _MAY_CHANGE if there["settings"][name] != settings[name]}
            # A build that ended goes on to another error, or with another budget where that was too small.
            if "error" in changed or (changed and there["status"] != CONFIRMED):
                there["status"] = None
            there["settings"] = settings
        self.document: dict[str, Any] = there or new

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """Those that are over."""
        return self.document["rounds"]

    def write(self) -> None:
        """Commit it, whole or not at all."""
        with whole_file(self._file) as file:
            file.write_text(json.dumps(self.document, indent=1))

    def _read(self) -> dict[str, Any] | None:
        if not self._file.exists():
            return None
        try:
            there = json.loads(self._file.read_text())
            version = there["schema_version"]
            if not isinstance(there["rounds"], list) or not isinstance(there["settings"], dict):
                raise TypeError
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self._file} is not the journal of a build, or is damaged; choose another place, or remove the folder "
                f"{self._file.parent}"
            ) from error
        if version != SCHEMA_VERSION:
            raise UsageError(
                f"{self._file} has schema {version}, this version reads {SCHEMA_VERSION}; use the version that wrote it"
            )
        return there

    def _require_same(self, there: dict[str, Any], asked: dict[str, Any]) -> None:
        hashes = (str(one.get("definition_hash"))[:12] for one in (there, asked))
        pairs = [("problem", there.get("problem"), asked["problem"]), ("definition of the problem", *hashes)]
        own, others = there["settings"], asked["settings"]
        pairs += [(name, own.get(name), value) for name, value in others.items() if name not in _MAY_CHANGE]
        for name, before, now in pairs:
            if before != now:
                raise UsageError(
                    f"{self._file.parent} holds the data of another build: {name} {before!r} there, {now!r} asked; "
                    "repeat it to go on, or choose another place"
                )

"""Damaged bytes in an unfinished inversion's files: one sentence or the same answer, in bounded memory and time."""

import resource
import shutil
import signal
import sqlite3
from collections import Counter

import numpy as np
import pytest

from gnvpro.apps.inversion.invert import invert
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.surrogate.errors import UsageError
from tests.faults.inversion_run import OBSERVED, Cheap, Dear, M, N

_SECONDS, _BYTES = 10, 1 << 30
SHORT = dict(routes=("delayed",), chains=2, draws=4, pde_draws=10, pde_tune=2, starts=2)


def points(n=60, seed=5):
    return np.random.default_rng(seed).uniform(-1, 1, (n, N))


def answers(path):
    """What an inversion asks its memory for."""
    solves, y = Solves(Dear(seconds=0), path, "one"), points()
    parts = solves.evaluate(y), solves.vjp(y, np.ones((len(y), M))), *solves.linearize(y[:20])
    return np.concatenate([part.ravel() for part in parts])


def inversion(path):
    found = invert(Cheap(), OBSERVED, 0.05, problem=Dear(seconds=0), checkpoint=path, **SHORT)
    return np.concatenate([found.map.parameters, found.chains["delayed"].draws.ravel()])


def in_a_transaction(path):
    """The files of a run that was killed while SQLite wrote: a journal that takes back what is half written."""
    answers(path)
    copy = path.with_name("copy.sqlite")
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE solves SET answer = zeroblob(40)")
        shutil.copy(path, copy)
        shutil.copy(f"{path}-journal", f"{copy}-journal")
        database.execute("ROLLBACK")
    return copy


def damaged(data, rng):
    """Some of the bytes changed, cut off, repeated, or overwritten."""
    data, kind = bytearray(data), rng.integers(6)
    at = int(rng.integers(len(data)))
    length = int(rng.integers(1, 1 + min(4096, len(data) - at)))
    if kind <= 2:
        for i in rng.integers(len(data), size=[1, 1, 20][kind]):
            data[i] ^= int(rng.integers(1, 256))
    elif kind == 3:
        del data[at:]
    elif kind == 4:
        data[at : at + length] = bytes(length)
    else:
        data[at : at + length] = rng.bytes(length)
    return bytes(data)


@pytest.fixture
def in_bounds():
    """Each in so many seconds, and all in so much memory."""

    def too_long(*_):
        raise TimeoutError(f"longer than {_SECONDS} s")

    before, old = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, signal.signal(signal.SIGALRM, too_long)
    yield lambda: signal.alarm(_SECONDS)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < _BYTES


CASES = {
    "solves": (lambda path: answers(path) is not None and path, answers, 8, 300),
    "journal": (in_a_transaction, answers, 8, 100),
    "inversion": (lambda path: inversion(path) is not None and path, inversion, 2, 100),
}


@pytest.mark.parametrize("case", list(CASES))
def test_damage_is_one_sentence_or_the_same_answer(
    case, tmp_path, repeats, fault_rng, fault_figures, in_bounds, monkeypatch
):
    make, ask, few, full = CASES[case]
    original = make(tmp_path / "solves.sqlite")
    files = [path for path in (original, original.with_name(original.name + "-journal")) if path.exists()]
    assert len(files) == 1 + (case == "journal")
    contents = {path.name: path.read_bytes() for path in files}
    expected, came = ask(tmp_path / "undamaged.sqlite"), Counter()
    for k in range(repeats(few, full)):
        folder = tmp_path / str(k)
        folder.mkdir()
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        victim = folder / files[int(fault_rng.integers(len(files)))].name
        victim.write_bytes(damaged(victim.read_bytes(), fault_rng))
        in_bounds()
        found, sentence = None, ""
        try:
            found = ask(folder / original.name)
        except UsageError as refused:
            sentence = str(refused)
        if found is None:
            assert original.name in sentence
            assert "\n" not in sentence
        else:
            np.testing.assert_array_equal(found, expected)
        came["one sentence" if found is None else "same answer"] += 1
        shutil.rmtree(folder)
    fault_figures(f"damage of an unfinished inversion, {case}", **came)


def test_every_changed_byte_of_an_answer_is_noticed_and_solved_again(tmp_path):
    path, y = tmp_path / "solves.sqlite", points(1)
    expected = Solves(Dear(seconds=0), path, "one").evaluate(y)
    for place in range(8 * M):
        with sqlite3.connect(path) as database:
            ((answer,),) = database.execute("SELECT answer FROM solves").fetchall()
            changed = bytearray(answer)
            changed[place] ^= 1
            database.execute("UPDATE solves SET answer = ?", (bytes(changed),))
        solves = Solves(Dear(seconds=0), path, "one")
        np.testing.assert_array_equal(solves.evaluate(y), expected)
        assert (solves.damaged, solves.evaluated) == (1, 1)
        again = Solves(Dear(seconds=0), path, "one")
        np.testing.assert_array_equal(again.evaluate(y), expected)
        assert (again.damaged, again.evaluated) == (0, 0), "it was replaced"


def test_an_answer_of_another_point_is_noticed(tmp_path):
    path, y = tmp_path / "solves.sqlite", points(2)
    expected = Solves(Dear(seconds=0), path, "one").evaluate(y)
    with sqlite3.connect(path) as database:
        first, second = database.execute("SELECT question, answer, checksum FROM solves").fetchall()
        for (question, *_), (_, *answer) in ((first, second), (second, first)):
            database.execute("UPDATE solves SET answer = ?, checksum = ? WHERE question = ?", (*answer, question))
    solves = Solves(Dear(seconds=0), path, "one")
    np.testing.assert_array_equal(solves.evaluate(y), expected)
    assert solves.damaged == 2


def test_a_file_of_the_time_before_checksums_goes_on(tmp_path):
    path, y = tmp_path / "solves.sqlite", points(5)
    expected = Solves(Dear(seconds=0), path, "one").evaluate(y)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE answers (question BLOB PRIMARY KEY, shapes TEXT, answer BLOB)")
        database.execute("INSERT INTO answers SELECT question, '5', answer FROM solves")
        database.execute("DROP TABLE solves")
    solves = Solves(Dear(seconds=0), path, "one")
    np.testing.assert_array_equal(solves.evaluate(y), expected)
    assert (solves.evaluated, solves.remembered) == (0, 5)


def test_what_was_damaged_is_told(tmp_path):
    path = tmp_path / "solves.sqlite"
    inversion(path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE solves SET checksum = x'00' WHERE rowid IN (SELECT min(rowid) FROM solves)")
    found = invert(Cheap(), OBSERVED, 0.05, problem=Dear(seconds=0), checkpoint=path, **SHORT)
    assert found.remarks["checkpoint"] == "1 of its results were damaged, and were solved again"

"""The one reader of names: columns, variables, observables and parameters, wherever a user writes them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from gnvpro.surrogate.errors import UsageError

# Names beyond which looking for close ones takes longer than the message is worth.
_MANY = 5000
# Of a unit: "mV" is not "V".
_PREFIXES = frozenset(("da", *"yzafpnumcdhkMGTPEZY"))


def find_names(names: Sequence[str], there: Sequence[str], where: str, *, repeated: bool = False) -> list[int | None]:
    """Place among `there` of each of `names`, None where it is not.

    A name is the same without the blanks around it, then in other capitals, then without a unit in brackets after it
    (`Depth [m]` for `depth`, but not `u(0.7)` for `u(0.5)`), then with underscores for blanks, or without either (`x_1`,
    `x 1`, `x1`; `p 1 2` is not `p 12`); the first of these that gives a place decides.

    Raises UsageError: it gives several, or two of `names` have the same place unless these may be `repeated`; `where`
    begins the message.
    """
    places: list[int | None] = [None] * len(names)
    for key in (str.strip, _folded, _without_unit, _spelled):
        if None not in places:
            break
        at: dict[str, list[int]] = {}
        for place, name in enumerate(there):
            at.setdefault(key(name), []).append(place)
        for i, name in enumerate(names):
            if places[i] is not None:
                continue
            if matching := [place for place in at.get(key(name), ()) if _brackets_agree(name, there[place])]:
                if len(matching) > 1:
                    raise UsageError(
                        f"{where}: {name} may be {listed(there[place] for place in matching)}; name one so"
                    )
                places[i] = matching[0]
    first: dict[int, str] = {}
    for name, place in () if repeated else zip(names, places, strict=True):
        if place is not None and place in first:
            twice = f"{name} is there twice" if first[place] == name else f"{first[place]} and {name} are one"
            raise UsageError(f"{where}: {twice}; leave one of them out")
        if place is not None:
            first[place] = name
    return places


def order_of(names: Sequence[str], there: Sequence[str], where: str) -> list[int]:
    """Place among `there` of each of `names`, all of which are there, and nothing else; UsageError otherwise."""
    places = [place for place in find_names(names, there, where) if place is not None]
    if len(places) != len(names) or len(there) != len(names):
        remedy = "; columns that are in this order need no names" if not places and len(there) == len(names) else ""
        raise UsageError(f"{where}: expected columns {listed(names)}, got {listed(there)}{remedy}")
    return places


def column_names(table: Any) -> list[str] | None:
    """Names of the columns of pandas' DataFrame or xarray's DataArray; None where it has none, or mere numbers."""
    is_data_array = len(getattr(table, "dims", ())) == 2
    columns = list(table.get_index(table.dims[1]) if is_data_array else getattr(table, "columns", ()))
    return list(map(str, columns)) if any(isinstance(name, str) for name in columns) else None


def did_you_mean(name: Any, known: Iterable[str], prefix: str = "") -> str:
    """`did you mean settings.steps? `, for a message about a name that is not known; empty where none of `known` is close.

    Those that are equally close are all named. Capitals, and underscores or hyphens, make no difference. `prefix` stands
    before the name that is meant.
    """
    spelled = {other.casefold().replace("_", "-"): other for other in known}
    if len(spelled) > _MANY:
        return ""
    text = str(name).casefold().replace("_", "-")
    close = difflib.get_close_matches(text, spelled)
    near = [difflib.SequenceMatcher(None, one, text).ratio() for one in close]
    meant = [prefix + spelled[one] for one, ratio in zip(close, near, strict=True) if ratio == near[0]]
    return f"did you mean {' or '.join(sorted(meant))}? " if meant else ""


def listed(names: Any) -> str:
    """Names as a message tells them."""
    return shortened(" ".join(", ".join(map(str, names)).split()) or "none")


def shortened(value: Any) -> str:
    """The value as text, at most 60 characters of it: for messages."""
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def other_scale(name: str, unit: str) -> str | None:
    """The unit in brackets after a name where it is another multiple of `unit`, such as mV for V; None elsewhere.

    Other words in brackets say nothing of the scale.
    """
    match = _UNIT.search(" ".join(name.split()))
    if match is None:
        return None
    written, unit = (_one_micro(text) for text in (match[0].strip(" [()]"), unit))
    if written == unit:
        return None
    pairs = ((written, unit), (unit, written), (written[1:], unit[1:]))
    for longer, shorter in pairs[:2]:
        if shorter and longer.endswith(shorter) and longer.removesuffix(shorter) in _PREFIXES:
            return written
    (one, other) = pairs[2]
    return written if one and one == other and {written[0], unit[0]} <= _PREFIXES else None


_UNIT = re.compile(r"\s*[\[(][^\[\]()]*[\])]$")


def _brackets_agree(one: str, other: str) -> bool:
    """Whether one of two names has no brackets at its end, or both have the same: they are not two points, then."""
    first, second = (_UNIT.search(_folded(name)) for name in (one, other))
    return first is None or second is None or first[0].strip() == second[0].strip()


def _one_micro(unit: str) -> str:
    """With one letter for micro, of which there are three."""
    return unit.replace("\u00b5", "u").replace("\u03bc", "u")


def _folded(name: str) -> str:
    return " ".join(name.replace("\ufeff", "").split()).casefold()


def _without_unit(name: str) -> str:
    return _UNIT.sub("", _folded(name))


def _spelled(name: str) -> str:
    """Without quotes, underscores and blanks, but for one blank between digits; a minus sign is a hyphen."""
    words = _without_unit(name).replace("\u2212", "-").strip("\"'\u201c\u201d\u2018\u2019").replace("_", " ")
    return re.sub(r"(?<!\d) | (?!\d)", "", " ".join(words.split()))

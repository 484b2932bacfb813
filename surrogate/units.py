"""Units as they are printed in books, from units as people type them: `m3` is m³, `ohm m` is Ω·m, `m s-2` is m s⁻².

Only the writing: nothing is converted, and what is not wholly understood is left as it is.
"""

from __future__ import annotations

import re

# Units as they may be typed, those that take a prefix last: min is a minute, mm is thousandths of a metre.
_UNIT = re.compile(
    r"min|hr?|day|d|sec|rad|sr|ha|ppm|ppb|atm|mbar|percent|%|deg|degC|°C?"
    "|(?P<prefix>da|[YZEPTGMkhdcmnpfauµ\u03bc])??"
    "(?P<base>mol|m|g|sec|s|A|K|cd|Hz|N|Pa|J|W|C|V|F|S|T|H|Wb|lm|lx|Bq|Gy|Sv|L|l|eV|bar|t|M|a|yr|[oO]hm|Ω|\u2126)"
)
# How some of them are printed.
_PRINTED = {"ohm": "Ω", "Ohm": "Ω", "\u2126": "Ω", "u": "µ", "\u03bc": "µ", "degC": "°C", "deg": "°"}
_PRINTED |= {"percent": "%", "hr": "h", "day": "d", "sec": "s"}

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_FACTOR = re.compile(r"(?P<symbol>[^\W\d_]+|°C?|%|1(?=\s*/))(?:(?:\^|\*\*)?(?P<power>[+-]?\d{1,3}(?!\d)))?")
_BETWEEN = re.compile(r"\s*/\s*|\s*(?:·|\*(?!\*)|\.|(?<=[^\W\d_])-(?=[^\W\d_]))\s*|\s+")
_BRACKETS = re.compile(r"\((?P<inner>[^()]*)\)")


def typeset(unit: str) -> str:
    """A unit with raised powers, dots between factors and the symbols of the SI; text that is no such unit unchanged.

    Factors are separated by a dot, by spaces where a power is negative: Ω·m, but W m⁻¹ K⁻¹.
    """
    text = unit.strip()
    before, _, below = text.partition("/")
    if (inner := _BRACKETS.fullmatch(below.strip())) and "/" not in inner["inner"]:
        above, product = _product(before), _product(inner["inner"])
        return unit if above is None or product is None else f"{above}/({product})"
    return _product(text) or unit


def _product(text: str) -> str | None:
    """Factors with what is between them; None where one of them is no unit."""
    factors: list[str] = []
    between: list[str] = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _FACTOR.match(text, at)
        if found is None or (shown := _factor(found["symbol"], found["power"])) is None:
            return None
        factors.append(shown)
        at = found.end()
        if at == len(text):
            break
        if (gap := _BETWEEN.match(text, at)) is None or not gap.group():
            return None
        between.append(gap.group().strip())
        at = gap.end()
    if not factors or len(between) == len(factors):
        return None
    beside = " " if any("⁻" in factor for factor in factors) else "·"
    shown_between = ["/" if sign == "/" else beside if not sign else "·" for sign in between]
    return "".join(part for pair in zip(factors, [*shown_between, ""], strict=True) for part in pair)


def _factor(symbol: str, power: str | None) -> str | None:
    shown = "1" if symbol == "1" else _symbol(symbol)
    if shown is None or power is None or int(power) == 1:
        return shown
    return shown + str(int(power)).translate(_SUPERSCRIPTS)


def _symbol(name: str) -> str | None:
    """How a unit is printed, with its prefix; None for what is none."""
    found = _UNIT.fullmatch(name)
    if found is None:
        return None
    parts = (name,) if found["base"] is None else (found["prefix"] or "", found["base"])
    return "".join(_PRINTED.get(part, part) for part in parts)

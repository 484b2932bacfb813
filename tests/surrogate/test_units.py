"""Units are printed as in books, and text that is no unit stays as it was typed."""

import pytest

from gnvpro.surrogate.formatting import in_unit, with_unit
from gnvpro.surrogate.units import typeset

PRINTED = {
    "m3": "m³",
    "m^3": "m³",
    "m**3": "m³",
    "km2": "km²",
    "m2/s": "m²/s",
    "kg/m3": "kg/m³",
    "ohm m": "Ω·m",
    "Ohm*m": "Ω·m",
    "ohm.m": "Ω·m",
    "ohm-m": "Ω·m",
    "kohm": "kΩ",
    "mV/A": "mV/A",
    "mg/L": "mg/L",
    "1/s": "1/s",
    "s-1": "s⁻¹",
    "s^-1": "s⁻¹",
    "m s-2": "m s⁻²",
    "m s^-2": "m s⁻²",
    "m·s^-2": "m·s⁻²",
    "W m-1 K-1": "W m⁻¹ K⁻¹",
    "W/(m K)": "W/(m·K)",
    "kg m2 s-3": "kg m² s⁻³",
    "m10": "m¹⁰",
    "m1": "m",
    "uV": "µV",
    "\u03bcm": "µm",
    "\u2126 m": "Ω·m",
    "degC": "°C",
    "percent": "%",
}
UNCHANGED = (
    "", "m", "K", "V/A", "m³", "Ω·m", "samples", "per year", "dollars/year", "CO2", "g CO2/m2", "arb. units", "a.u.", "m0.5",
    "m^0.5", "ohmm", "m/", "/s", "m//s", "m-", "10 m", "1e3 m", "log10(m)", "W/(m K", "m²/s", "1", "m ^ 3", " ",
    "m" + 5000 * "1",
)  # fmt: skip


@pytest.mark.parametrize(("typed", "printed"), PRINTED.items())
def test_powers_are_raised_and_symbols_those_of_the_si(typed, printed):
    assert typeset(typed) == printed


@pytest.mark.parametrize("typed", UNCHANGED)
def test_what_is_no_unit_is_left_alone(typed):
    assert typeset(typed) == typed


@pytest.mark.parametrize("typed", PRINTED)
def test_what_is_printed_is_left_alone(typed):
    assert typeset(typeset(typed)) == typeset(typed)


def test_numbers_and_labels_are_in_printed_units():
    assert with_unit("3.2", "m3") == "3.2 m³"
    assert in_unit("resistivity", "ohm m") == "resistivity (Ω·m)"
    assert with_unit("0.4", "1") == "0.4"
    assert in_unit("rate", "unknown") == "rate"

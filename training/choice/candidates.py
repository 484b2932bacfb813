"""Which networks a training races: shapes and gains by samples and parameters, less what its settings fix."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gnvpro.training.settings import QUICK_GAIN, QUICK_WIDTHS, TrainSettings


@dataclass(frozen=True)
class Candidate:
    """What the race chooses: widths of dense layers, gain of the inputs, L-BFGS in the Kronecker metric or without.

    With `polynomial` W also acts on polynomials of the parameters; without `derivatives` those of the samples are left out.
    """

    widths: tuple[int, ...]
    gain: float
    metric: bool = True
    polynomial: bool = False
    derivatives: bool = True

    def __str__(self) -> str:
        extras = f"{' and polynomials' if self.polynomial else ''}{'' if self.metric else ', plain L-BFGS'}"
        extras += "" if self.derivatives else ", values alone"
        return f"widths {','.join(map(str, self.widths))}, gain {self.gain:g}{extras}"


def candidates(n_samples: int, n_inputs: int) -> list[Candidate]:
    """Shapes and gains worth trying for this many samples and inputs.

    Many inputs call for a narrow first layer that finds the few directions that matter; the widest layer is
    limited by the samples, since W has to be determined by them.
    """
    last = max(1, min(48, n_samples // 4))
    if n_inputs <= 5:
        wide = max(1, min(96, n_samples // 4))
        shapes = [(16, 16, wide), (16, 24, 24, last), (16, 16, min(16, last))]
    else:
        shapes = [(9, 24, 24, last), (8, 16, last), (16, 24, 24, last)]
    raced = [Candidate(shape, gain) for shape in shapes for gain in (0.1, 1.0)]
    # The metric overfits small networks of equal layers on few samples: let plain L-BFGS compete there.
    return list(dict.fromkeys([*raced, Candidate((16, 16, min(16, last)), 0.1, metric=False)]))


def small_candidates(n_samples: int) -> list[Candidate]:
    """Networks small enough for a dense matrix of all weights."""
    last = max(1, n_samples // 4)
    shapes = [(8, 8, min(8, last)), (12, 12, min(12, last)), (16, 16, min(16, last))]
    return [Candidate(shape, gain) for shape in shapes for gain in (0.1, 1.0)]


def polynomial_candidates(n_samples: int) -> list[Candidate]:
    """Small networks for what polynomials leave over; they share the samples with the polynomial's coefficients."""
    last = max(1, n_samples // 8)
    shapes = [(min(8, last),), (16, min(16, last))]
    return [Candidate(shape, 1.0, polynomial=True) for shape in dict.fromkeys(shapes)]


def candidates_for(settings: TrainSettings, n_samples: int, n_inputs: int, polynomials: bool) -> list[Candidate]:
    """The candidates that the settings leave open; `polynomials`: a basis fits the samples, and the settings allow it."""
    smooth = polynomial_candidates(n_samples) if polynomials else []
    if settings.quick:
        widths = (*QUICK_WIDTHS[:-1], max(1, min(QUICK_WIDTHS[-1], n_samples // 4)))
        networks, smooth = [Candidate(widths, QUICK_GAIN)], smooth[:1]
    elif settings.solver == "lm":
        networks = small_candidates(n_samples)
    else:
        networks = candidates(n_samples, n_inputs)
    if settings.widths:
        networks = [Candidate(settings.widths, gain) for gain in ((QUICK_GAIN,) if settings.quick else (0.1, 1.0))]
        smooth = [replace(candidate, widths=settings.widths) for candidate in smooth]
    raced = smooth if settings.polynomial == "on" else [*networks, *smooth]
    if settings.gain:
        raced = [replace(candidate, gain=settings.gain) for candidate in raced]
    if settings.solver != "lbfgs":
        raced = [candidate for candidate in raced if candidate.metric]
    return list(dict.fromkeys(raced))

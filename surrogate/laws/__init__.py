"""Laws of parameters: what they are drawn by, what an inversion takes as its prior, and how they become normal variables."""

from gnvpro.surrogate.laws.discrete import Choices, Integers
from gnvpro.surrogate.laws.joint import Dirichlet, JointNormal
from gnvpro.surrogate.laws.of_scipy import OfScipy
from gnvpro.surrogate.laws.plain import law_of, laws_of
from gnvpro.surrogate.laws.scalar import Lognormal, LogUniform, Normal, TruncatedNormal, Uniform

__all__ = [
    "Choices",
    "Dirichlet",
    "Integers",
    "JointNormal",
    "LogUniform",
    "Lognormal",
    "Normal",
    "OfScipy",
    "TruncatedNormal",
    "Uniform",
    "law_of",
    "laws_of",
]

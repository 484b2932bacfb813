"""Formulas as MathML, which browsers lay out and read aloud by themselves: no script, no fonts, no network.

The converter is docutils' own. What it does not know is a warning, so that the build stops.
"""

from __future__ import annotations

from docutils.nodes import math, math_block
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_log = logging.getLogger(__name__)


def _converted(node: math | math_block, as_block: bool) -> str:
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        _log.warning("formula that cannot be converted to MathML: %s", error, location=node)
        return f"<code>{node.astext()}</code>"


def _inline(translator: HTML5Translator, node: math) -> None:
    translator.body.append(_converted(node, as_block=False))


def _block(translator: HTML5Translator, node: math_block) -> None:
    translator.body.append(f'<div class="math-block">{_converted(node, as_block=True)}</div>')


def _leave(translator: HTML5Translator, node: math | math_block) -> None:
    """Nothing is left open."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Known to Sphinx as the renderer of formulas."""
    app.add_html_math_renderer("mathml", (_inline, _leave), (_block, _leave))
    app.config["html_math_renderer"] = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Figures as files: a picture, or a specification that a page draws; neither needs a network.

vl-convert holds Vega-Lite, Vega and a renderer of its own, and the scripts for pages.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import vl_convert

__all__ = ["page_scripts", "specification", "to_png", "to_svg"]

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def specification(figure: Any) -> dict[str, Any]:
    """Return a figure as a Vega-Lite document with its data inside."""
    return dict(figure.to_dict())


def to_svg(document: Mapping[str, Any]) -> str:
    """Draw a figure as SVG."""
    return str(vl_convert.vegalite_to_svg(dict(document)))


def to_png(document: Mapping[str, Any], *, scale: float = 1.0) -> bytes:
    """Draw a figure as PNG, ``scale`` times its size in pixels."""
    return bytes(vl_convert.vegalite_to_png(dict(document), scale=scale))


@cache
def page_scripts() -> str:
    """Return the JavaScript with which a page draws figures, about 0.9 MB.

    It defines ``vegaEmbed`` and loads nothing. A ``</script`` inside it would end the
    element that carries it, so one is refused.
    """
    script = str(vl_convert.javascript_bundle(_SNIPPET))
    if "</script" in script.lower():
        raise ValueError("the installed vl-convert's scripts cannot stand inside a page")
    return script

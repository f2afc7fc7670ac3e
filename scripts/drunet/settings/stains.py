"""Settings of stain normalisation."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from drunet.settings.base import Block

_Part = Annotated[float, Strict(), Field(ge=0, le=1)]
_Amount = Annotated[float, Strict(), Field(gt=0, le=10)]


class StainNormalisation(Block):
    """What the stains of every slide become; see `drunet.stains`. The defaults are a reference in wide use."""

    method: Literal["macenko"]
    """macenko: stains are estimated per slide (Macenko et al. 2009)"""
    haematoxylin: Annotated[tuple[_Part, _Part, _Part], Strict(False)] = (0.5626, 0.7201, 0.4062)
    """optical density of haematoxylin in R, G and B; its length does not count"""
    eosin: Annotated[tuple[_Part, _Part, _Part], Strict(False)] = (0.2159, 0.8012, 0.5581)
    """the same of eosin"""
    maximum: Annotated[tuple[_Amount, _Amount], Strict(False)] = (0.8558, 0.4477)
    """amount of either that 99 % of the stained pixels stay below, optical density (base 10)"""

"""Museum: published code as it was released, mistakes included, to show what they do to the figures.

Every entry says in its docstring what is wrong with it. Nothing outside this folder imports it (import-linter holds the
project to that): no result may rest on it.
"""

from holdfast.studies.published.agi_as_released import agi_as_released
from holdfast.studies.published.boundary_as_released import boundary_as_released
from holdfast.studies.published.clamped_images import clamped_images
from holdfast.studies.published.double_softmax import double_softmax_cross_entropy, double_softmax_robustness
from holdfast.studies.published.hot_variational import hot_variational
from holdfast.studies.published.map_sign import map_descent, map_sign
from holdfast.studies.published.mean_of_images import mean_of_images
from holdfast.studies.published.released_steps import released_steps
from holdfast.studies.published.relevance_as_released import relevance_as_released
from holdfast.studies.published.sharded_chains import sharded_chains

__all__ = [
    "agi_as_released",
    "boundary_as_released",
    "clamped_images",
    "double_softmax_cross_entropy",
    "double_softmax_robustness",
    "hot_variational",
    "map_descent",
    "map_sign",
    "mean_of_images",
    "released_steps",
    "relevance_as_released",
    "sharded_chains",
]

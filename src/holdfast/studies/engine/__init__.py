"""Engine: cells of computation, the store that keeps them, and the loop that computes those that are missing.

Cell       what to compute: a kind, settings as JSON, and the cells it needs
Kind       how: a function, a codec for its result, and the rooms whose code it runs
Store      a folder, or a bucket, with the result of every finished cell under the cell's key
execute    computes cells in as many processes as asked for, each at most once
"""

from holdfast.studies.engine.cell import Cell
from holdfast.studies.engine.execute import Outcome, execute
from holdfast.studies.engine.kind import Context, Kind, kind_of
from holdfast.studies.engine.store import Store

__all__ = ["Cell", "Context", "Kind", "Outcome", "Store", "execute", "kind_of"]

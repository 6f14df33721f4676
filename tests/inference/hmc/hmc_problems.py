"""The small problems of the room, for the tests of this folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from problems import Residual, accuracy, blobs

__all__ = ["Residual", "accuracy", "blobs"]

"""Lets these tests share the small problems of the room."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

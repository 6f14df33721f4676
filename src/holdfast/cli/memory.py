"""The option `--memory`, the same for every command.

Commands that compute cut their work into tiles of that size. Those that only read and check files have no such parts:
there the system itself refuses the process more, see `machine.hold_to`.
"""

from typing import Annotated

import typer

from holdfast.machine import MEMORY

Memory = Annotated[
    str,
    typer.Option("--memory", metavar="SIZE", help="Memory that the process may fill: `8GB`, `512MiB`, `60%`."),
]
DEFAULT = MEMORY

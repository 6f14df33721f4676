"""The option `--memory`, the same for every command that computes."""

from typing import Annotated

import typer

from holdfast.machine import MEMORY

Memory = Annotated[
    str,
    typer.Option("--memory", metavar="SIZE", help="Memory that the process may fill: `8GB`, `512MiB`, `60%`."),
]
DEFAULT = MEMORY

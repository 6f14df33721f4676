"""Map sheet: maps side by side, one column for each explanation or number of draws, one line for each image."""

import math
from typing import TYPE_CHECKING, Any

from holdfast.report.figures import Plot
from holdfast.report.figures.canvas import finish, panel, slug, wrap
from holdfast.report.palette import light
from holdfast.report.studies.names import ordered, treatment_title, value_title
from holdfast.report.studies.rows import chosen, present
from holdfast.report.wording import short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pandas import DataFrame

COLOURS = "RdBu_r"


def map_sheet(names: "Sequence[str]", table: "DataFrame", text: str, here: "Mapping[int, int]") -> Plot | None:
    """Maps of a table with `value` by pixel, each with its own scale below it; None where their shape is not known.

    Args:
        names: of the drawing.
        table: with the maps.
        text: what the drawing shows.
        here: number of draws in the paper -> here.
    """
    over = next((c for c in ("explanation", "draws") if c in table.columns), "")
    columns, described = present(table, over), []
    lines = [(t, e) for t in ordered(table.treatment) for e in present(table, "example")]
    first = 1 if "image_value" in table.columns else 0
    with panel(0.5 + min(1.05, 4.4 / (first + len(columns))) * len(lines)) as (figure, axes):
        axes.remove()
        grid = figure.subplots(len(lines), first + len(columns), squeeze=False, gridspec_kw={"wspace": 0.03})
        for (treatment, example), tiles in zip(lines, grid):
            own = chosen(table, {"treatment": treatment, "example": example})
            for column, tile in zip(columns, tiles[first:]):
                cell = chosen(own, {over: column} if over else {})
                values = None if cell.empty else _grid(cell, "value")
                if values is not None:
                    limit = float(abs(values).max())
                    tile.imshow(values / (limit or 1), cmap=COLOURS, vmin=-1, vmax=1, interpolation="nearest")
                    tile.set_xlabel(f"±{short(limit)}", fontsize=8.5, color=light("muted"), labelpad=2)
                    described.append(f"{treatment_title(treatment)}, {column}: largest {short(limit)}")
            image = _grid(own, "image_value") if first else None
            if image is not None:
                tiles[0].imshow(image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
            tiles[0].set_ylabel(wrap(treatment_title(treatment), 11, 2), fontsize=8.5, color=light("ink"))
        for tile in grid.flat:
            tile.set(xticks=[], yticks=[], frame_on=False)
        for column, tile in zip(columns, grid[0][first:]):
            title = value_title(over, int(column), here) if over == "draws" else str(column)
            tile.set_title(wrap(title, 9, 3), fontsize=8.5, color=light("muted"))
        return finish(figure, slug(*names), f"{text} {'; '.join(described)}.", png=False) if described else None


def _grid(own: "DataFrame", name: str) -> Any:
    """Values by row and column; vectors are folded where they are square, in one or in three channels."""
    if {"row", "column"} <= set(own.columns):
        return own.drop_duplicates(["row", "column"]).pivot(index="row", columns="column", values=name).to_numpy(float)
    values = own.drop_duplicates("pixel").sort_values("pixel")[name].to_numpy(float) if "pixel" in own.columns else []
    for channels in (1, 3):
        side = math.isqrt(len(values) // channels)
        if side > 1 and channels * side**2 == len(values):
            return values.reshape(channels, side, side).sum(0)
    return None

"""heatmaps: the most relevant pixels of a few images before and after an attack, or whole maps side by side.

Each pair of maps is divided by the largest |R| of the clean one, so that both share one scale; pixels that are not
among the most relevant ones are left out. Maps that are not pairs have a scale each.
"""

from typing import TYPE_CHECKING, Any

from holdfast.report.figures.canvas import finish, panel, slug, wrap
from holdfast.report.palette import light
from holdfast.report.studies.map_sheet import map_sheet
from holdfast.report.studies.names import ordered, treatment_title, value_alone, value_title
from holdfast.report.studies.pictures import Row, Sheet
from holdfast.report.studies.rows import chosen, present
from holdfast.report.studies.sliders import Drawn
from holdfast.report.wording import number

if TYPE_CHECKING:
    from pandas import DataFrame

CAPTION = (
    "Red speaks for the class, blue against it. Maps that stand in pairs, before and after an attack, show the most "
    "relevant pixels of the clean and of the attacked image; the number at such a pair is k-LRP, and a star says that "
    "the attack changed the prediction."
)
FIXED = ("draws", "k", "epsilon")
LEGEND = ""
IN_NUMBERS = False
COLOURS = "RdBu_r"


def draw(sheet: Sheet) -> list[Row]:
    """One row for each layer, or each kind of vector."""
    tables = {preset: sheet.table(preset, "heatmaps") for preset in sheet.tables}
    found = {p: t for p, t in tables.items() if not t.empty}
    label = next((c for c in ("layer", "of") if any(c in t.columns for t in found.values())), "layer")
    values = list(dict.fromkeys(v for t in found.values() for v in present(t, label)))
    rows = []
    for value in values:
        own = {preset: chosen(t, {label: value}) for preset, t in found.items()}
        plots = {p: _plot(sheet, p, label, value, t) for p, t in own.items() if not t.empty}
        heading = value_title(label, value) if label == "layer" else value_alone(label, value)
        drawn = {p: Drawn(plot) for p, plot in plots.items() if plot is not None}
        rows.append(Row(heading if len(values) > 1 else "", drawn))
    return rows


def _plot(sheet: Sheet, preset: str, label: str, value: Any, table: "DataFrame") -> Any:
    if "before" in table.columns:
        return _draw(sheet, preset, value, table)
    text = f"Maps, {sheet.study.id}, {sheet.panel.title}, {preset}."
    return map_sheet(sheet.names(f"{label}{value}", preset), table, text, sheet.here)


def _draw(sheet: Sheet, preset: str, layer: int, table: "DataFrame") -> Any:
    treatments, examples = ordered(table.treatment), present(table, "example")
    columns, described = 1 + 3 * len(treatments), []
    with panel(0.55 + 0.82 * len(examples)) as (figure, axes):
        axes.remove()
        grid = figure.subplots(len(examples), columns, squeeze=False, gridspec_kw={"wspace": 0.02})
        for tile in grid.flat:
            tile.set_axis_off()
        for line, example in zip(grid, examples):
            for place, treatment in enumerate(treatments):
                own = chosen(table, {"treatment": treatment, "example": example})
                own = own.drop_duplicates(["row", "column"])
                if own.empty:
                    continue
                if place == 0:
                    _image(line[0], own, "image_value")
                said = _example(line[1 + 3 * place : 4 + 3 * place], own)
                described.append(f"image {int(example)}, {treatment_title(treatment)}: {said}")
        grid[0][0].set_title("clean", fontsize=8.5, color=light("muted"))
        for place, treatment in enumerate(treatments):
            for tile, title in zip(grid[0][1 + 3 * place :], ("attacked", "before", "after")):
                head = f"{wrap(treatment_title(treatment), 15, 2)}\n" if title == "before" else "\n"
                tile.set_title(head + title, fontsize=8.5, color=light("ink" if title == "before" else "muted"))
        text = f"Heatmaps, {sheet.study.id}, {sheet.panel.title}, {value_title('layer', layer)}, {preset}: k-LRP of "
        name = slug(*sheet.names(f"layer{layer}", preset))
        return finish(figure, name, f"{text}{'; '.join(described)}.", png=False)


def _example(tiles: Any, own: "DataFrame") -> str:
    """An attacked image with both maps; its k-LRP in words."""
    limit = float(own.before.abs().max()) or 1.0
    _image(tiles[0], own, "attacked_value")
    for tile, name in zip(tiles[1:], ("before", "after")):
        values = _grid(own, name) * _grid(own, f"top_{name}") / limit
        tile.imshow(values, cmap=COLOURS, vmin=-1, vmax=1, interpolation="nearest")
    said = number(float(own.k_lrp.iloc[0])) + ("" if bool(own.label_kept.iloc[0]) else "*")
    where = {"xycoords": "axes fraction", "textcoords": "offset points", "xytext": (0, -2)}
    tiles[2].annotate(said, (0.5, 0), ha="center", va="top", fontsize=8.5, color=light("ink"), **where)
    return said


def _image(tile: Any, own: "DataFrame", name: str) -> None:
    tile.imshow(_grid(own, name), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")


def _grid(own: "DataFrame", name: str) -> Any:
    return own.pivot(index="row", columns="column", values=name).to_numpy(float)

"""A study of sixty cells that tests disturb: twenty networks, their attacked images, what they answer to them."""

from pathlib import Path

from holdfast.studies.engine import Cell, Store

CELLS = 60


def study(train: int = 60, epochs: int = 1) -> list[Cell]:
    """The twenty cells that need all others; a network of 600 images and 5 epochs takes a tenth of a second."""
    cells = []
    for seed in range(CELLS // 3):
        how = {"function": "holdfast.inference.sgd", "training": {"epochs": epochs}}
        network = {"name": "fc2", "width": 4}
        fit = Cell("fit", {"data": "fashion-mini", "train": train, "network": network, "fit": how, "seed": seed})
        points = {"data": "fashion-mini", "points": 10}
        fgsm = {"function": "holdfast.attacks.fgsm", "budget": {"norm": "linf", "epsilons": 0.1}}
        attack = Cell("attack", points | {"attack": fgsm, "seed": 0}, {"ensemble": fit})
        cells.append(Cell("predictions", points, {"ensemble": fit, "attack": attack}))
    return cells


def finished(path: Path) -> int:
    """How many cells of a run folder have a record."""
    return sum(1 for _ in path.glob("cells/*/*.record.json"))


def check(store: Store, cells: list[Cell], undisturbed: Store) -> None:
    """Every cell is there once, and equal to what one undisturbed process finds."""
    assert finished(store.path) == CELLS
    assert all(store.read(cell).equals(undisturbed.read(cell)) for cell in cells)
    for kind in ("fit", "attack"):
        files = [sorted(path.glob(f"cells/{kind}/*.safetensors")) for path in (store.path, undisturbed.path)]
        assert [file.name for file in files[0]] == [file.name for file in files[1]]
        assert all(one.read_bytes() == other.read_bytes() for one, other in zip(*files, strict=True))

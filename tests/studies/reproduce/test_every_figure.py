"""Every figure of the papers runs, as published and as corrected: at the scale `smoke`, with fewer images still."""

import pytest

from holdfast.studies.engine import Store
from holdfast.studies.reproduce import plan
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.run import reproduce
from holdfast.studies.reproduce.study import studies

PAPERS = sorted({study.paper for study in studies().values()})


class Few(Settled):
    """`smoke` with so few images that nothing is shown but that everything runs."""

    def __init__(self, *given):
        super().__init__(*given)
        self.scale = self.scale.model_copy(update={"points": 8, "train": 200})


def smaller(study):
    """Every panel at its last number of draws and its last layer alone."""
    last = lambda panel: {"draws": panel.draws[-1:], "layers": panel.layers[-1:]}
    return study.model_copy(update={"panels": tuple(p.model_copy(update=last(p)) for p in study.panels)})


@pytest.mark.parametrize("paper", PAPERS)
def test_every_figure_has_its_tables(paper, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "Settled", Few)
    chosen = [smaller(study) for study in studies().values() if study.paper == paper]
    found = reproduce(chosen, Store(tmp_path), scale="smoke", presets=["published", "corrected"], jobs=1)
    for part in found.parts:
        name = (part.study.id, part.panel.title, part.preset)
        assert found.missing.get(name, "") == part.missing, name
        assert part.missing or any(len(table) for table in found.tables[name].values()), name

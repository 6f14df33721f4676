"""A small real study with two training seeds: the same tables for any number of processes, intervals over seeds."""

import multiprocessing
import os
import signal
import time

import pandas
import pytest
import torch

from holdfast.studies.engine import Store
from holdfast.studies.reproduce import plan
from holdfast.studies.reproduce.claim import Evidence
from holdfast.studies.reproduce.quantities import estimate
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.run import reproduce
from holdfast.studies.reproduce.study import study_of

PANEL = ("BE-F3", "MNIST", "published")


class TwoSeeds(Settled):
    """A scale below smoke, with a training seed more."""

    def __init__(self, *given):
        super().__init__(*given)
        self.scale = self.scale.model_copy(update={"seeds": (0, 1), "points": 12, "train": 200})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Processes -> run: a deterministic network, and the same with logits times 100."""
    study = study_of("BE-F3").only(["MNIST"])
    panel = study.panels[0].model_copy(update={"treatments": ("deterministic",), "rules": ("epsilon",)})
    study = study.model_copy(update={"panels": (panel,)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "Settled", TwoSeeds)
        stores = {jobs: Store(tmp_path_factory.mktemp(f"jobs{jobs}")) for jobs in (1, 2)}
        assert plan.finished([study], stores[1], "smoke", ["published"]) == []
        found = {
            jobs: (reproduce([study], store, scale="smoke", presets=["published"], jobs=jobs), store.path)
            for jobs, store in stores.items()
        }
        assert plan.finished([study], stores[1], "smoke", ["published"]) == [study]
        assert plan.finished([study], stores[1], "smoke", ["published", "corrected"]) == []
        yield found


def test_tables_do_not_depend_on_the_number_of_processes(runs):
    (one, here), (two, there) = runs.values()
    assert not one.missing
    assert not two.missing
    for name, table in one.tables[PANEL].items():
        pandas.testing.assert_frame_equal(table, two.tables[PANEL][name], check_exact=True)
    for file in (here / "tables").iterdir():
        assert file.read_bytes() == (there / "tables" / file.name).read_bytes(), file.name


def test_every_seed_trains_a_network_of_its_own_and_counts_in_the_interval(runs):
    table = runs[1][0].tables[PANEL]["resilience"]
    scores = [own.k_lrp.to_numpy() for _, own in table[table.treatment == "deterministic"].groupby("seed")]
    assert len(scores) == 2
    assert (scores[0] != scores[1]).any()
    where = {"treatment": "loud", "attack": "fgsm", "rule": "epsilon", "layer": -1, "draws": 100, "k": 20}
    asked = {"study": "BE-F3", "panel": "MNIST", "quantity": "difference", "expect": "zero", "where": where}
    found = estimate(Evidence(**asked, against={"treatment": "deterministic"}), {"resilience": table})
    assert (found.seeds, found.images) == (2, 12)
    assert found.low <= found.value <= found.high


def reproduced(folder):
    """A figure of many small cells, with two training seeds."""
    return reproduce([study_of("TH-1")], Store(folder), scale="smoke", presets=["corrected"], jobs=1)


def test_killed_at_ten_moments_it_has_the_tables_of_an_unbroken_run(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "Settled", TwoSeeds)
    cells = lambda: len(list((tmp_path / "killed").glob("cells/*/*.record.json")))
    fork, moments = multiprocessing.get_context("fork"), torch.Generator().manual_seed(0)
    for _ in range(10):
        process = fork.Process(target=reproduced, args=(tmp_path / "killed",))
        process.start()
        before = cells()
        while cells() == before and process.is_alive():
            time.sleep(0.005)
        time.sleep(0.05 * float(torch.rand(1, generator=moments)))
        assert process.is_alive(), "the run ended before it was killed ten times"
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    after, whole = reproduced(tmp_path / "killed"), reproduced(tmp_path / "whole")
    assert after.tables
    for name, tables in whole.tables.items():
        for table in tables:
            pandas.testing.assert_frame_equal(after.tables[name][table], tables[table], check_exact=True)
    for file in (tmp_path / "whole" / "tables").iterdir():
        assert file.read_bytes() == (tmp_path / "killed" / "tables" / file.name).read_bytes(), file.name

"""`python -m benchmarks.hmc_runs mnist|fashion-mnist [--folder F] [--draws N]`: the long HMC runs, kept as records.

Full-batch HMC of `fc2` 512 on all 60,000 training images with the preset `cpu-hour`, one process per chain; with
`--network conv --width 16 --images 1000 --preset smoke` that of a small convolutional network on the first 1,000, and
with `--preset gpu-minutes --device cuda` a longer one on a GPU, in TF32. A run that is stopped goes on when called
again with the same folder; with `--finished` it ends with the draws it has.
At the end the folder gets the bank, for `holdfast diagnose FOLDER/bank.safetensors --data NAME`, and
`results/hmc/NAME.json` the settings, the diagnostics, the accuracies, the chains' agreement and the diagnosis with its
verdict, which `benchmarks.hmc` reads. Another network or preset than the usual one is part of the name.
"""

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.measure import ROOT, processor
from benchmarks.predictions import predicted
from holdfast import data, networks
from holdfast.data import Dataset, Split
from holdfast.diagnostics import diagnose
from holdfast.ensemble import Ensemble
from holdfast.inference.hmc import PRESETS, hmc

RECORDS = ROOT / "benchmarks" / "results" / "hmc"
USUAL = "cpu-hour"  # preset of the runs whose records have no preset in their name
FAMILIES = {"class_probability": "class probabilities", "relevance": "relevance"}
ROWS = ("rhat_50", "rhat_90", "rhat_99", "ess_50")


def main() -> None:
    """Run, or go on with, one of the long runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hmc_runs", description=__doc__)
    parser.add_argument("name", choices=("mnist", "fashion-mnist"))
    parser.add_argument("--folder", type=Path, help="of the checkpoints (default: runs/hmc/NAME)")
    parser.add_argument("--network", choices=("fc2", "conv"), default="fc2")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--images", type=int, help="the first of the training images (default: all)")
    parser.add_argument("--preset", choices=list(PRESETS), default=USUAL)
    parser.add_argument("--device", help="where to run, such as cuda; it chooses the precision too (default: cpu)")
    parser.add_argument("--draws", type=int, help="of each chain, in place of the preset's")
    parser.add_argument("--mass", choices=("prior", "kron_in"))
    parser.add_argument("--finished", action="store_true", help="take the draws that all chains have, and no more")
    options = parser.parse_args()
    dataset = on(options.device or "cpu", data.load(options.name, download=False))
    train = dataset.train[: options.images]
    x = train.images
    make = {"fc2": networks.fc2, "conv": networks.conv}[options.network]
    network = make(dataset.shape, len(dataset.classes), width=options.width)
    network = networks.normalised(network, float(x.mean()), float(x.std()))
    name = record_name(options.name, options.network, options.preset)
    folder = options.folder or ROOT / "runs" / "hmc" / name
    if options.finished:
        options.draws = min(len(list(chain.glob("draw-*.safetensors"))) for chain in folder.glob("chains-*"))
    begun = time.time()
    chosen = {"preset": options.preset, "draws": options.draws, "mass": options.mass}
    ensemble = hmc(network, train, seed=0, folder=folder, **chosen)
    ensemble.save(folder / "bank.safetensors", data={"name": dataset.name, "checksum": dataset.checksum})
    starts = Ensemble.load(folder / "start.safetensors", network).to(options.device or "cpu")
    record = {
        "command": f"python -m benchmarks.hmc_runs {options.name} "
        + " ".join(f"--{k} {v}" for k, v in vars(options).items() if v and k not in ("name", "folder", "finished")),
        "processor": torch.cuda.get_device_name() if x.is_cuda else processor(),
        **summary(ensemble, starts, dataset),
        "diagnosis": diagnose({name: ensemble}, dataset.test).as_json(),
    }
    if not options.finished:  # those that drew them are not known
        record["seconds_of_this_call"] = round(time.time() - begun, 1)
    RECORDS.mkdir(parents=True, exist_ok=True)
    (RECORDS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in record.items() if k not in ("history", "diagnosis")}, indent=1))
    print(verdict(record))


def record_name(name: str, network: str, preset: str) -> str:
    """Of a run's record and folder: what is not as usual is part of it, so that no run takes another's place."""
    return "-".join([name, *[network] * (network != "fc2"), *[preset] * (preset != USUAL)])


def on(device: str, dataset: Dataset) -> Dataset:
    """The data set with its images and labels on a device."""
    move = lambda split: Split(split.images.to(device), split.labels.to(device))
    return replace(dataset, train=move(dataset.train), test=move(dataset.test))


def verdict(record: Mapping[str, Any]) -> str:
    """What the diagnosis in a record says of mixing, in a sentence; nothing for records from before there was one."""
    found = record.get("diagnosis")
    if found is None:
        return ""
    (word,) = found["verdicts"].values()
    told = [word]
    for row in found["functions"]:
        if row["functions_of"] in FAMILIES:
            figures = ["unknown" if v is None else v if v == "infinite" else f"{v:.3g}" for v in (row[k] for k in ROWS)]
            told.append(
                f"{FAMILIES[row['functions_of']]}: R-hat of 50, 90 and 99 % below {', '.join(figures[:3])}, "
                f"ESS of half of them at least {figures[3]}"
            )
    return "; ".join(told)


def summary(ensemble: Ensemble, starts: Ensemble, dataset: Dataset) -> dict[str, Any]:
    """What is kept of a run: settings, diagnostics and figures on the test images."""
    test, found = dataset.test, ensemble.diagnostics
    chains = found.settings["chains"]
    each = len(ensemble) // chains
    per_chain = [ensemble[slice(k * each, (k + 1) * each)] for k in range(chains)]
    parts = [part.log_predictive(test.images) for part in per_chain]
    both = torch.stack(parts).logsumexp(0) - math.log(chains)
    logits = starts.log_predictive(test.images)
    return {
        "accuracy": _accuracy(both, test),
        "nll": float(F.nll_loss(both, test.labels)),
        "accuracy_per_chain": [_accuracy(p, test) for p in parts],
        "accuracy_of_the_last_draw": [_accuracy(p[each - 1].log_predictive(test.images), test) for p in per_chain],
        "accuracy_of_the_starts": _accuracy(logits, test),
        "nll_of_the_starts": float(F.nll_loss(logits, test.labels)),
        "agreement_between_chains": float((parts[0].argmax(-1) == parts[-1].argmax(-1)).double().mean()),
        "total_variation_between_chains": float((parts[0].exp() - parts[-1].exp()).abs().sum(-1).mean() / 2),
        "settings": found.settings,
        "diagnostics": found.summary,
        "predictions": predicted(ensemble, dataset),
        "warnings": list(found.warnings),
        "history": {k: [round(float(v), 4) for v in values] for k, values in found.history.items()},
        "draws": len(ensemble),
    }


def _accuracy(log_probabilities: torch.Tensor, test: Split) -> float:
    return float((log_probabilities.argmax(-1) == test.labels).double().mean())


if __name__ == "__main__":
    main()

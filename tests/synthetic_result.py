"""A synthetic result that looks like a real one: what `make_result` draws from a seed, and the ways to spoil it."""

import math

import numpy as np
import pandas as pd
import torch
from scipy import stats

from holdfast.ensemble import Diagnostics
from holdfast.studies.result import BASELINE, Cell, EnsembleSummary, Gallery, Result

TITLES = {
    "deterministic": "Deterministic network",
    "adversarial": "Adversarially trained network",
    "deep_ensemble": "Deep ensemble",
    "mean_field": "Mean-field posterior",
}
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
HOLD = {"deterministic": 0.0, "adversarial": 0.16, "deep_ensemble": 0.05, "mean_field": 0.09}
HARM = {"random_noise": 0.14, "fgsm": 0.30, "pgd": 0.34}


def make_result(
    names=tuple(TITLES),
    epsilons=(0.05, 0.1),
    rules=("epsilon", "gamma"),
    layers=("input", "layers.1"),
    images=120,
    channels=1,
    side=28,
    classes=CLASSES,
    titles=TITLES,
    hold=HOLD,
    examples=4,
    preserved=True,
    seed=0,
):
    """A result whose ensembles hold better by what `hold` says; `preserved=False`: every attack changes every label."""
    rng = np.random.default_rng(seed)
    predictions, scores = _tables(rng, names, epsilons, rules, layers, images, len(classes), hold, preserved)
    return Result(
        title="Do explanations of fashion-mini hold?",
        question="How much of a heatmap survives an attack that nobody sees, and does averaging over a posterior help?",
        command="holdfast demo --data fashion-mini --seed 0",
        settings={
            "data": {"name": "fashion-mini", "train": 6000, "test": 1000, "shape": [channels, side, side]},
            "network": {"architecture": "fc2", "width": 512, "activation": "leaky_relu"},
            "attacks": {"pgd": {"steps": 40, "restarts": 2, "objective": "margin"}, "fgsm": {"objective": "margin"}},
            "budget": {"norm": "linf", "epsilons": list(epsilons)},
            "explanations": {"rules": list(rules), "target": "predicted class of the clean image", "start": "logit"},
            "scores": {"k": 20, "chance": "another image's attacked map"},
            "statistics": {"bootstrap": 2000, "confidence": 0.95, "correction": "Holm", "effect_size": "rank-biserial"},
            "seeds": {"data": 0, "inference": 1, "attacks": 2, "statistics": 3},
        },
        versions={"holdfast": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6"},
        checksums={"data/fashion-mini": "ab12" * 16, "weights/mean_field.safetensors": "0f9c" * 16},
        classes=list(classes),
        ensembles=[_summary(rng, n, titles) for n in names],
        predictions=predictions,
        scores=scores,
        comparisons=_comparisons(rng, scores, names),
        masking=_masking(predictions, names, rng),
        checks=_checks(names),
        gallery=_gallery(rng, names, epsilons, rules, examples, channels, side, len(classes)),
        primary=Cell(names[-1], "pgd", epsilons[len(epsilons) // 2], rules[0]),
        seconds={"train": 61.2, "attack": 40.0, "explain": 22.7},
    )


def _summary(rng, name, titles):
    many = name in ("deep_ensemble", "mean_field")
    epochs = np.arange(1, 31)
    history = {"training_loss": (2.1 * np.exp(-epochs / 7) + 0.25 + 0.02 * rng.normal(size=30)).tolist()}
    if name == "mean_field":
        history |= {"kl": (4e4 * (1 - np.exp(-epochs / 9))).tolist(), "elbo": (-9e4 + 2e3 * np.log(epochs)).tolist()}
    return EnsembleSummary(
        name,
        titles[name],
        {"deep_ensemble": 5, "mean_field": 50}.get(name, 1),
        669_706,
        {"adversarial": 0.792, "mean_field": 0.861}.get(name, 0.884),
        0.35 + 0.05 * many,
        0.012,
        Diagnostics(
            method=name,
            settings={"epochs": 30, "learning_rate": 1e-3, "batch_size": 128, "seed": 1},
            summary={"final_loss": history["training_loss"][-1], "converged": name != "mean_field"},
            history=history,
            warnings=("The ELBO still rose in the last ten epochs.",) if name == "mean_field" else (),
        ),
    )


def _tables(rng, names, epsilons, rules, layers, images, classes, hold, preserved):
    labels = rng.integers(0, classes, images)
    own = rng.normal(0, 0.07, images)
    predictions, scores = [], []
    for name in names:
        clean = np.where(rng.random(images) < 0.88, labels, (labels + 1) % classes)
        for attack, harm in HARM.items():
            for epsilon in epsilons:
                grow = (epsilon / 0.1) ** 0.5
                flip = rng.random(images) < min(0.98, grow * {"random_noise": 0.06, "fgsm": 0.7, "pgd": 0.85}[attack])
                flip = flip if preserved else np.ones(images, dtype=bool)
                predicted = np.where(flip, (clean + 1) % classes, clean)
                softmax = np.clip(np.where(flip, 0.25, 0.85) + rng.normal(0, 0.15, images), 0, 1)
                predictions.append(
                    pd.DataFrame(
                        {
                            "ensemble": name,
                            "attack": attack,
                            "epsilon": epsilon,
                            "image": range(images),
                            "label": labels,
                            "clean_predicted": clean,
                            "predicted": predicted,
                            "label_preserved": ~flip,
                            "size_linf": epsilon,
                            "size_l2": epsilon * 22.0,
                            "softmax_robustness": softmax,
                        }
                    )
                )
                for rule in rules:
                    for depth, layer in enumerate(layers):
                        gain = hold[name] * (0.35 if attack == "random_noise" else 1)
                        mean = 0.88 - harm * grow + gain + 0.03 * depth
                        k_lrp = np.clip(mean + own + 0.12 * (softmax - 0.5) + rng.normal(0, 0.05, images), 0, 1)
                        chance = 0.45 + 0.02 * (name != BASELINE)
                        scores.append(
                            pd.DataFrame(
                                {
                                    "ensemble": name,
                                    "attack": attack,
                                    "epsilon": epsilon,
                                    "rule": rule,
                                    "layer": layer,
                                    "image": range(images),
                                    "k_lrp": np.round(k_lrp * 156) / 156,
                                    "k_lrp_signed": np.clip(k_lrp - 0.04, 0, 1),
                                    "chance": chance,
                                    "k_lrp_corrected": (k_lrp - chance) / (1 - chance),
                                    "spearman": np.clip(k_lrp + 0.05, -1, 1),
                                    "cosine": np.clip(k_lrp + 0.02, -1, 1),
                                    "label_preserved": ~flip,
                                }
                            )
                        )
    return pd.concat(predictions, ignore_index=True), pd.concat(scores, ignore_index=True)


def _comparisons(rng, scores, names):
    rows = []
    keys = ["attack", "epsilon", "rule", "layer"]
    base = scores[scores["ensemble"] == BASELINE].set_index([*keys, "image"])[["k_lrp", "label_preserved"]]
    for (name, *cell), own in scores.groupby(["ensemble", *keys], sort=False):
        if name == BASELINE:
            continue
        for subset in ("all", "label_preserving", "label_changing"):
            pairs = own.set_index([*keys, "image"])[["k_lrp", "label_preserved"]].join(base.add_suffix("_base"))
            if subset != "all":
                chosen = subset == "label_preserving"
                pairs = pairs[(pairs["label_preserved"] == chosen) & (pairs["label_preserved_base"] == chosen)]
            difference = (pairs["k_lrp"] - pairs["k_lrp_base"]).dropna().to_numpy()
            rows.append([name, *cell, subset, len(difference), *_test(difference)])
    columns = [
        "ensemble",
        "attack",
        "epsilon",
        "rule",
        "layer",
        "subset",
        "n",
        "median_difference",
        "mean_difference",
        "low",
        "high",
    ]
    frame = pd.DataFrame(rows, columns=[*columns, "p_wilcoxon", "effect_size", "p_mann_whitney"])
    return frame.assign(p_holm=(frame["p_wilcoxon"] * (frame["subset"] == "all").sum()).clip(upper=1))


def _test(difference):
    if len(difference) < 5 or not difference.any():
        return [math.nan] * 7
    half = 1.96 * difference.std() / math.sqrt(len(difference))
    mean = difference.mean()
    p = 2 * stats.norm.sf(abs(mean) * math.sqrt(len(difference)) / difference.std())  # stands for Wilcoxon's
    return [float(np.median(difference)), mean, mean - half, mean + half, p, float(np.sign(difference).mean()), p**0.5]


def _masking(predictions, names, rng):
    rows = [[n, "clean", 0.0, 0.88, 0.02 * i, 0.01] for i, n in enumerate(names)]
    for (name, attack, epsilon), part in predictions.groupby(["ensemble", "attack", "epsilon"], sort=False):
        rows.append([name, attack, epsilon, (part["predicted"] == part["label"]).mean(), math.nan, math.nan])
    columns = ["ensemble", "attack", "epsilon", "accuracy", "zero_gradient_rate", "saturation_rate"]
    return pd.DataFrame(rows, columns=columns)


def _checks(names):
    rows = [[n, "order", True, "Accuracy falls from noise over one step to many steps."] for n in names]
    rows.append([names[-1], "zero_gradient", False, "12.0 % of gradients are exactly zero: cross-entropy cannot move."])
    rows.append([None, "logits_times_100", None, "Was not run with these settings."])
    return pd.DataFrame(rows, columns=["ensemble", "check", "passed", "sentence"])


def _gallery(rng, names, epsilons, rules, count, channels, side, classes):
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]

    def blob():
        cx, cy, r = [*rng.uniform(-0.3, 0.3, 2).tolist(), rng.uniform(0.3, 0.6)]
        return np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / r**2) * 2)

    images = np.stack([[np.clip(blob() + 0.2 * blob(), 0, 1)] * channels for _ in range(count)])
    labels = torch.as_tensor(rng.integers(0, classes, count))
    epsilon = epsilons[len(epsilons) // 2]
    signs = np.where(rng.random(images.shape) < 0.5, -epsilon, epsilon)
    attacked = torch.as_tensor(np.clip(images + signs, 0, 1)).float()
    clean_maps = {n: np.stack([blob() - 0.7 * blob() for _ in range(count)]) * (1 + i) for i, n in enumerate(names)}
    moved = {n: m + 0.25 * rng.normal(size=m.shape) for n, m in clean_maps.items()}
    return Gallery(
        images=torch.as_tensor(images).float(),
        labels=labels,
        rows=torch.arange(count) * 7,
        chosen_by=f"The first {count} images of a random order drawn with seed 0 before any network was trained.",
        attack="pgd",
        epsilon=epsilon,
        rule=rules[0],
        attacked={n: attacked for n in names},
        clean_maps={n: torch.as_tensor(m).float() for n, m in clean_maps.items()},
        attacked_maps={n: torch.as_tensor(m).float() for n, m in moved.items()},
        clean_predictions={n: labels for n in names},
        attacked_predictions={n: (labels + torch.arange(count) % 2) % classes for n in names},
    )

"""A reproduction made of random numbers: every kind of figure, every state of a claim, a study that failed in part."""

import numpy as np
import pandas

from holdfast.studies.reproduce.claim import Claim
from holdfast.studies.reproduce.plan import Part
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import Panel, Study
from holdfast.studies.reproduce.verdict import judge

RULES = ("epsilon", "gamma", "alpha_beta")
KEEPS = {
    "deterministic": 0.35, "adversarial": 0.38, "hmc": 0.55, "deep_ensemble": 0.5, "noise_grad": 0.4,
    "smooth_grad": 0.42, "loud": 0.6,
}  # fmt: skip
TREATMENTS = {
    "published": ("deterministic", "adversarial", "hmc", "loud"),
    "corrected": ("deterministic", "adversarial", "hmc", "deep_ensemble", "noise_grad", "smooth_grad", "loud"),
}
FAILED = "fit/0123456789abcdef: ValueError: the potential is not finite"
NOT_RELEASED = "the region attack was never released"


def make_study(identifier, picture, titles=("MNIST",), layers=(-1,), draws=(100,), rules=RULES[:1], **more):
    panel = {
        "data": "mnist", "network": "fc2", "treatments": ("deterministic", "adversarial", "hmc"), "attacks": ("fgsm",),
        "rules": rules, "layers": layers, "draws": draws,
    }  # fmt: skip
    told = {"figure": "Figure 3", "title": f"A figure of {picture}", "paper_shows": "Medians .28, .10, .07."} | more
    panels = tuple(Panel(title=t, **panel) for t in titles)
    return Study(id=identifier, paper="BE", measure="resilience", picture=picture, panels=panels, **told)


def make_tables(study, panel, preset, seed=0, images=40, seeds=(0,)):
    """`resilience` and `predictions` of one panel: every label, numbers that mean nothing."""
    random, found, decided = np.random.default_rng([seed, len(preset), len(panel.title)]), [], []
    gain = 1.0 if preset == "published" else 0.3
    for treatment in TREATMENTS[preset]:
        for attack in (*panel.attacks, *(("random_noise",) if preset == "corrected" else ())):
            for draws in panel.draws:
                for training in seeds:
                    labels = {
                        "treatment": treatment,
                        "draws": draws,
                        "seed": training,
                        "attack": attack,
                        "epsilon": 0.2,
                    }
                    soft = random.beta(3, 2, images)
                    rows = {"image": range(images), "label": 1, "clean_predicted": np.arange(images) % 10 > 0}
                    rows |= {"softmax_robustness": soft, "zero_gradients": 0.0}
                    decided.append(pandas.DataFrame(labels | rows))
                    for rule in panel.rules:
                        for layer in panel.layers:
                            middle = 0.35 + gain * (KEEPS[treatment] - 0.35) + 0.2 * (attack == "random_noise")
                            base = random.normal(middle + 0.1 * soft, 0.12)
                            for k in (10.0, 20.0, 40.0):
                                kept = np.clip(base + (k - 20) / 200, 0, 1)
                                cell = {"rule": rule, "layer": layer, "image": range(images), "k": k, "k_lrp": kept}
                                cell |= {"chance": 0.2, "k_lrp_corrected": (kept - 0.2) / 0.8}
                                found.append(pandas.DataFrame(labels | cell))
    return {
        "resilience": pandas.concat(found, ignore_index=True),
        "predictions": pandas.concat(decided, ignore_index=True),
    }


def make_claims(study):
    where = {"treatment": "hmc", "attack": "fgsm", "layer": -1, "draws": 100, "k": 20, "rule": list(RULES)}
    controls = [{"treatment": t} for t in ("deep_ensemble", "noise_grad", "smooth_grad")]
    one = {"study": study, "panel": "MNIST", "quantity": "difference", "where": where, "controls": controls}
    one |= {"against": {"treatment": "deterministic"}, "expect": "positive"}
    told = {"paper": "BE", "source": "Section VI"}
    return [
        Claim(id="BE-X1", statement="Bayesian explanations are more robust.", background="Attacks are averaged.",
              evidence=(one | {"paper": [0.05, 0.1, 0.07]},), **told),
        Claim(id="BE-X2", statement="Much more robust.", evidence=(one | {"paper": 0.9},), **told),
        Claim(id="BE-X3", statement="Less robust.", evidence=(one | {"expect": "negative"},), **told),
        Claim(id="BE-X4", statement="Robust on paper.", untestable="The weights were never published.", **told),
        Claim(id="BE-X5", statement="Robust for clothes.", evidence=(one | {"panel": "Fashion-MNIST"},), **told),
        Claim(id="BE-X6", statement="Robust elsewhere.", evidence=(one | {"study": "BE-F99"},), **told),
    ]  # fmt: skip


def make_reproduction(
    studies=None,
    scale="smoke",
    claims=None,
    presets=("published", "corrected"),
    images=40,
    seeds=(0,),
    seed=0,
    kept=None,
):
    """The first study's second panel failed when corrected; the last study's panel was never released."""
    studies = studies or (
        make_study("BE-F3", "differences", ("MNIST", "Fashion-MNIST"), rules=RULES),
        make_study("BE-F2", "densities", layers=(0, -1), draws=(10, 50, 100)),
        make_study("BE-F4", "scatter", draws=(50, 100)),
        make_study("BE-T1", "unheard_of", note="A table that nobody draws."),
        make_study("BE-F14", "differences", ("MNIST, region",)),
    )
    tables, missing, parts = {}, {}, []
    for study in studies:
        for preset in presets:
            for panel in study.panels:
                name, reason = (study.id, panel.title, preset), ""
                if (study.id, preset) == ("BE-F14", "published"):
                    missing[name] = reason = NOT_RELEASED
                elif (panel.title, preset) == ("Fashion-MNIST", "corrected"):
                    missing[name] = FAILED
                    tables[name] = {"resilience": pandas.DataFrame(), "predictions": pandas.DataFrame()}
                else:
                    tables[name] = make_tables(study, panel, preset, seed, images=images, seeds=seeds)
                parts.append(Part(study, panel, preset, missing=reason))
    claims = make_claims(studies[0].id) if claims is None else claims
    kept = kept.without(studies) if kept else None
    judgements = tuple(judge(c, tables, kept.findings.get(c.id, ()) if kept else ()) for c in claims)
    times = {s.id: 100.0 * (i + 1) for i, s in enumerate(studies)}
    return Reproduction(
        tuple(studies), scale, tuple(presets), tuple(parts), tables, missing, judgements, 812.0, times, kept=kept
    )

"""Localisation scores against slow rewrites, their chance levels, and images that say nothing."""

import math

import pytest
import torch

from holdfast import scores
from holdfast.data.tiny_imagenet import read_listings
from holdfast.data.unpacking import Zip
from holdfast.scores.localisation import LOCALISATION
from holdfast.scores.regions import region_masks

EVERY = pytest.mark.parametrize("name", LOCALISATION)


def maps(count=6, channels=2, height=7, width=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, height, width, generator=generator, dtype=torch.float64).round(decimals=1)


def boxes(count=6, height=7, width=9, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x0, y0 = (torch.randint(0, side - 2, (count,), generator=generator) for side in (width, height))
    return torch.stack([x0, y0, (x0 + 3).clamp(max=width - 1), (y0 + 2).clamp(max=height - 1)], 1)


def slow(name, g, inside):
    """One map as a list of rows, one region as a set of (row, column)."""
    height, width = len(g), len(g[0])
    pixels = [(r, c) for r in range(height) for c in range(width)]
    positive = {p for p in pixels if g[p[0]][p[1]] > 0}
    at = lambda p: g[p[0]][p[1]]
    if name == "localisation":
        return len(positive & inside) / len(positive | inside)
    if name == "energy_game":
        return sum(map(at, positive & inside)) / sum(map(at, positive))
    if name == "positive_percentage":
        return sum(map(at, positive & inside)) / sum(abs(at(p)) for p in inside)
    if name == "relevance_mass":
        return sum(abs(at(p)) for p in inside) / sum(abs(at(p)) for p in pixels)
    if name == "pointing_game":
        top = [p for p in pixels if at(p) == max(map(at, pixels))]
        return sum(p in inside for p in top) / len(top)
    if name == "relevance_rank":
        ordered = sorted((abs(at(p)) for p in pixels), reverse=True)
        last = ordered[len(inside) - 1]
        sure, tied = [p for p in pixels if abs(at(p)) > last], [p for p in pixels if abs(at(p)) == last]
        found = sum(p in inside for p in sure)
        found += (len(inside) - len(sure)) / len(tied) * sum(p in inside for p in tied)
        return found / len(inside)
    total = sum(abs(at(p)) for p in inside)
    place = lambda p: ((p[1] + 0.5) / width, (p[0] + 0.5) / height)
    centre = [sum(abs(at(p)) / total * place(p)[k] for p in inside) for k in (0, 1)]
    far = lambda p: max(math.dist(place(p), centre), 0.5 / max(height, width))
    return sum(abs(at(p)) / total / far(p) for p in inside)


@EVERY
def test_against_a_slow_rewrite(name):
    g, box = maps(), boxes()
    values = LOCALISATION[name](g, box)
    masks, usable = region_masks("test", box, 7, 9, 6)
    assert usable.all()
    for row in range(6):
        x0, y0, x1, y1 = box[row].tolist()
        inside = {(r, c) for r in range(y0, y1 + 1) for c in range(x0, x1 + 1)}
        assert values[row].item() == pytest.approx(slow(name, g[row].sum(0).tolist(), inside))
    torch.testing.assert_close(LOCALISATION[name](g, masks), values)
    torch.testing.assert_close(LOCALISATION[name](g.sum(1), masks, image_axes=2), values)
    stacked = LOCALISATION[name](torch.stack([g, -g]), masks)
    assert stacked.shape == (2, 6)
    torch.testing.assert_close(stacked[0], values)


@EVERY
def test_scale_does_not_matter_and_the_region_itself_does_best(name):
    score = LOCALISATION[name]
    g, box = maps(), boxes()
    torch.testing.assert_close(score(1e-3 * g, box), score(g, box))
    masks, _ = region_masks("test", box, 7, 9, 6)
    perfect = score(masks[:, None].double(), box)
    if name != "concentration":
        torch.testing.assert_close(perfect, torch.ones(6).double())


def test_noise_scores_what_chance_gives():
    g = torch.randn(400, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(400, 32, 32, dtype=torch.bool)
    masks[:, 4:26, 3:25] = True  # 47 % of the image, as in ImageNette
    share = masks[0].float().mean().item()
    mean = {name: score(g, masks).mean().item() for name, score in LOCALISATION.items()}
    assert share == pytest.approx(0.4727, abs=1e-3)
    for name in ("energy_game", "relevance_mass", "relevance_rank"):
        assert mean[name] == pytest.approx(share, abs=0.01)
    assert mean["pointing_game"] == pytest.approx(share, abs=0.08)
    assert mean["positive_percentage"] == pytest.approx(0.5, abs=0.01)
    assert mean["localisation"] == pytest.approx(0.5 * share / (share + 0.5 * (1 - share)), abs=0.01)
    assert 4 < mean["concentration"] < 6  # the size that the published table has


@EVERY
def test_images_that_say_nothing_are_nan(name):
    g, box = maps(8), boxes(8)
    box[0] = torch.tensor([3, 3, 3, 5])  # no width
    box[1] = torch.tensor([2, 6, 5, 5])  # upside down
    box[2] = torch.tensor([5, 2, 9, 4])  # reaches outside
    box[3] = torch.tensor([-1, 2, 3, 4])
    g[4, 0, 0, 0] = torch.nan
    values = LOCALISATION[name](g, box)
    assert values.isnan().tolist() == [True] * 5 + [False] * 3
    assert LOCALISATION[name](g, torch.zeros(8, 7, 9, dtype=torch.bool)).isnan().all()


def test_scores_without_meaning_for_a_map_are_nan():
    box = boxes(1)
    negative, blank = -torch.ones(1, 1, 7, 9), torch.zeros(1, 1, 7, 9)
    assert scores.energy_game(negative, box).isnan()
    assert scores.positive_percentage(negative, box).item() == 0
    for name in ("energy_game", "positive_percentage", "concentration", "relevance_mass"):
        assert LOCALISATION[name](blank, box).isnan()
    assert scores.localisation(blank, box).item() == 0


def test_bad_regions_are_explained():
    g = maps()
    with pytest.raises(TypeError, match=r"boxes \[B, 4\] of whole numbers or masks \[B, H, W\] of bool"):
        scores.localisation(g, boxes().float())
    with pytest.raises(TypeError, match=r"of bool, got list"):
        scores.localisation(g, boxes().tolist())
    with pytest.raises(ValueError, match=r"expected 6 boxes \[B, 4\]"):
        scores.localisation(g, boxes(5))
    with pytest.raises(ValueError, match=r"expected masks of shape \(6, 7, 9\)"):
        scores.localisation(g, torch.zeros(6, 9, 7, dtype=torch.bool))
    with pytest.raises(ValueError, match="with image_axes=1"):
        scores.localisation(g, boxes(), image_axes=1)


def test_localise_sets_baselines_beside_and_counts_what_it_leaves_out():
    images, box = torch.rand(6, 2, 7, 9), boxes()
    box[0] = 0
    g = maps().float()
    blank = g.clone()
    blank[1] = torch.nan
    found = scores.localise({"ours": g, "holes": blank}, box, images, seed=3)
    assert list(found.values) == ["ours", "holes", "noise", "edges", "centre", "brightness"]
    assert (found.no_region, found.no_map) == (1, 1)
    assert found.used.tolist() == [False, False, True, True, True, True]
    table = found.table()
    assert len(table) == 6 * 7
    row = table[(table.explanation == "ours") & (table.score == "energy_game")].iloc[0]
    expected = scores.energy_game(g, box)[2:].mean().item()
    assert row["mean"] == pytest.approx(expected)
    assert row["low"] < expected < row["high"]
    assert row["images"] == 4
    difference = found.compare("ours", "noise", "relevance_mass")
    by_hand = found.values["ours"]["relevance_mass"] - found.values["noise"]["relevance_mass"]
    assert difference.mean == pytest.approx(by_hand[2:].double().mean().item())
    with pytest.raises(ValueError, match="there is no explanation 'theirs'; there are ours, holes, noise"):
        found.compare("ours", "theirs", "relevance_mass")
    with pytest.raises(ValueError, match="there is no score 'energy'; there are localisation, energy_game"):
        found.compare("ours", "noise", "energy")
    nothing = scores.localise({"ours": g}, torch.zeros_like(box), images)
    with pytest.raises(ValueError, match="on 0 images, at least two are needed; of 6 images 6 have no region"):
        nothing.compare("ours", "noise", "relevance_mass")
    with pytest.raises(ValueError, match="for an ensemble give maps of one draw"):
        scores.localise({"ours": g[None]}, box, images)
    with pytest.raises(ValueError, match="'edges' is the name of a baseline"):
        scores.localise({"edges": g}, box, images)


def test_the_edge_detector_sees_edges_and_the_blob_the_middle():
    images = torch.zeros(1, 1, 9, 9)
    images[..., 5:] = 1.0
    found = scores.know_nothing(images)
    assert (found["edges"][0, 0, :, 4:6] > 0).all()
    assert (found["edges"][0, 0, :, [0, 1, 2, 7, 8]] == 0).all()
    assert found["centre"].argmax() == 40
    assert torch.equal(found["brightness"], images)


def test_the_78_empty_boxes_of_tiny_imagenet_are_flagged(data_dir):
    path = data_dir / "tiny-imagenet" / "tiny-imagenet-20.zip"
    with Zip(path, str(path)) as archive:
        _, train, _ = read_listings(archive)
    _, usable = region_masks("test", torch.tensor(train.boxes), 64, 64, len(train.boxes))
    assert (~usable).sum() == 78


def test_alignment_against_numpy_and_scale():
    a, b = maps(seed=1), maps(seed=2)
    torch.testing.assert_close(scores.l2_distance(a, b), torch.stack([(x - y).norm() for x, y in zip(a, b)]))
    torch.testing.assert_close(
        scores.l2_distance(a, b, channels="sum"), torch.stack([(x - y).sum(0).norm() for x, y in zip(a, b)])
    )
    torch.testing.assert_close(scores.relative_distance(7 * a, 7 * b), scores.relative_distance(a, b))
    assert (scores.relative_distance(a, -a) - 2).abs().max() < 1e-12
    assert scores.relative_distance(0 * a, 0 * a).eq(0).all()


def test_correlation_against_scipy_and_its_interval_covers():
    from scipy import stats

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, generator=generator)
    y = 0.6 * x + 0.8 * torch.randn(60, generator=generator)
    y[5] = torch.nan
    keep = torch.arange(60) != 5
    for kind, reference in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        rho, low, high = scores.correlation(x, y, kind=kind)
        assert rho == pytest.approx(reference(x[keep].numpy(), y[keep].numpy()).statistic, abs=1e-6)
        assert low < rho < high
    inside = 0
    for _ in range(40):
        a = torch.randn(80, generator=generator)
        b = 0.6 * a + 0.8 * torch.randn(80, generator=generator)
        _, low, high = scores.correlation(a, b, kind="pearson", level=0.9)
        inside += low < 0.6 < high
    assert inside >= 30
    assert all(math.isnan(v) for v in scores.correlation(x, torch.ones(60)))
    with pytest.raises(ValueError, match=r"expected two values per image \[B\]"):
        scores.correlation(x, y[:3])

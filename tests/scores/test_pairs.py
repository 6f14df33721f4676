"""What every score refuses, in words."""

import pytest
import torch

from holdfast.scores import cosine, k_lrp, label_preserved, softmax_robustness, spearman
from holdfast.scores.pairs import map_rows

MAP_SCORES = [lambda a, b, **more: k_lrp(a, b, k=50, **more), spearman, cosine]
PREDICTION_SCORES = [softmax_robustness, label_preserved]


@pytest.mark.parametrize("score", MAP_SCORES)
def test_refuses_bad_maps(score):
    good = torch.rand(2, 1, 4, 4)
    with pytest.raises(ValueError, match=r"must have one shape, got \(2, 1, 4, 4\) and \(1, 1, 4, 4\)"):
        score(good, good[:1])
    with pytest.raises(ValueError, match=r"maps of at least one image \[..., B, ...\], got shape \(0, 1, 4, 4\)"):
        score(good[:0], good[:0])
    with pytest.raises(ValueError, match="attacked maps hold 16 NaN or infinite values"):
        score(good, torch.cat([good[:1], good[1:] * torch.nan]))
    with pytest.raises(ValueError, match="clean maps hold 1 NaN or infinite values"):
        score(torch.where(good == good.max(), torch.inf, good), good)
    with pytest.raises(TypeError, match=r"clean must be a floating-point torch\.Tensor of maps, got torch\.int64"):
        score(good.long(), good)
    with pytest.raises(TypeError, match=r"attacked must be a floating-point torch\.Tensor of maps, got list"):
        score(good, good.tolist())
    with pytest.raises(ValueError, match="can be read in two ways; pass image_axes=1"):
        score(good[:, 0], good[:, 0])
    with pytest.raises(ValueError, match=r"image_axes must lie in 1..3 .*, got 4"):
        score(good, good, image_axes=4)


@pytest.mark.parametrize("score", PREDICTION_SCORES)
def test_refuses_bad_predictions(score):
    good = torch.randn(3, 10).log_softmax(-1)
    with pytest.raises(ValueError, match="must have one shape"):
        score(good, good[:, :9])
    with pytest.raises(ValueError, match="clean predictions hold 10 NaN or infinite values"):
        score(torch.where(torch.arange(3)[:, None] == 1, torch.nan, good), good)
    with pytest.raises(ValueError, match=r"attacked must hold log probabilities .* or log for probabilities"):
        score(good, good.exp())
    with pytest.raises(ValueError, match="log_softmax for logits"):
        score(good + 1, good)
    with pytest.raises(ValueError, match=r"at least one image .*, got shape \(0, 10\)"):
        score(good[:0], good[:0])


def test_certain_predictions_of_large_logits_pass():
    log_p = (1e5 * torch.randn(50, 10, generator=torch.Generator().manual_seed(0))).log_softmax(-1)
    assert bool((softmax_robustness(log_p, log_p) == 1).all())


@pytest.mark.parametrize(("shape", "axes", "rows"), [((5, 7), None, (5, 7)), ((2, 5, 7), 1, (2, 5, 7))])
def test_images_without_pixels(shape, axes, rows):
    maps = torch.rand(shape)
    assert map_rows("test", maps, maps, channels="sum", image_axes=axes)[0].shape == rows


def test_channels():
    maps = torch.rand(2, 5, 3, 4, 6)
    summed, _ = map_rows("test", maps, maps, channels="sum", image_axes=None)
    separate, _ = map_rows("test", maps, maps, channels="separate", image_axes=None)
    assert (summed.shape, separate.shape) == ((2, 5, 24), (2, 5, 72))
    torch.testing.assert_close(summed, maps.sum(2).flatten(2))

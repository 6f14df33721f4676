"""Balanced subsets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data import Split, balanced_subset


def numbered(labels, boxes=False):
    """A split whose images carry their own number."""
    labels = torch.as_tensor(labels)
    images = torch.arange(len(labels), dtype=torch.float32).view(-1, 1, 1, 1)
    return Split(images, labels, torch.arange(len(labels))[:, None].repeat(1, 4) if boxes else None)


@given(st.integers(1, 6), st.integers(5, 12), st.integers(0, 2**31), st.data())
def test_balanced_without_replacement_and_nested(classes, each, seed, data):
    order = torch.randperm(classes * each, generator=torch.Generator().manual_seed(seed))
    split = numbered(torch.arange(classes).repeat(each)[order] * 3)  # labels need not be 0, 1, 2
    count = data.draw(st.integers(1, classes * each))
    subset = balanced_subset(split, count, seed)
    drawn = subset.images.flatten().long().tolist()
    assert len(drawn) == len(set(drawn)) == count
    assert drawn == sorted(drawn)
    assert torch.equal(subset.labels, split.labels[torch.tensor(drawn)])
    sizes = [int((subset.labels == 3 * c).sum()) for c in range(classes)]
    assert max(sizes) - min(sizes) <= 1
    fewer = balanced_subset(split, data.draw(st.integers(1, count)), seed)
    assert set(fewer.images.flatten().tolist()) <= set(subset.images.flatten().tolist())


def test_every_image_of_a_class_is_drawn_equally_often():
    split = numbered(torch.arange(20) % 2)
    counts = torch.zeros(20)
    for seed in range(600):
        counts[balanced_subset(split, 4, seed).images.flatten().long()] += 1
    # binomial with 600 draws of probability 0.2: mean 120, standard deviation 9.8
    assert counts.min() > 120 - 4.5 * 9.8
    assert counts.max() < 120 + 4.5 * 9.8


def test_boxes_come_along_and_the_global_generator_stays():
    state = torch.get_rng_state()
    subset = balanced_subset(numbered(torch.arange(30) % 3, boxes=True), 6, seed=1)
    assert torch.equal(subset.boxes[:, 0], subset.images.flatten().long())
    assert torch.equal(state, torch.get_rng_state())


def test_too_few_images_are_named():
    split = numbered([0, 0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match="6 images of 2 classes need 3 of class 1, which has 2; ask for at most 4"):
        balanced_subset(split, 6, seed=0)
    with pytest.raises(ValueError, match=r"balanced_subset: count must lie in \[1, 6\], got 7"):
        balanced_subset(split, 7, seed=0)
    with pytest.raises(ValueError, match="count must lie in"):
        balanced_subset(split, 0, seed=0)
    with pytest.raises(TypeError, match=r"count must be a whole number, got 2\.0"):
        balanced_subset(split, 2.0, seed=0)
    with pytest.raises(ValueError, match="the split has no images"):
        balanced_subset(split[:0], 1, seed=0)

"""placed: every image is what its parts say, and the same seed gives the same bytes."""

import pytest
import torch

from holdfast.data import load, placed

DATA = load("placed", train=60, test=80)


def test_images_are_background_and_items():
    split = DATA.test
    either = split.masks | split.second_masks
    assert not (split.masks & split.second_masks).any()
    assert torch.equal(split.images[:, 0][~either], split.backgrounds[:, 0][~either])
    assert split.masks.flatten(1).any(1).all()
    assert (split.images >= 0).all()
    assert (split.images <= 1).all()
    torch.testing.assert_close((split.images * 255).round(), split.images * 255, atol=1e-3, rtol=0)
    assert torch.equal(split.removed("first")[:, 0][split.masks], split.backgrounds[:, 0][split.masks])
    only_second = split.removed("first")[:, 0][split.second_masks]
    assert torch.equal(only_second, split.images[:, 0][split.second_masks])
    with pytest.raises(ValueError, match="which must be 'first' or 'second'"):
        split.removed("both")


def test_boxes_are_the_tight_boxes_of_the_masks():
    for boxes, masks in ((DATA.test.boxes, DATA.test.masks), (DATA.test.second_boxes, DATA.test.second_masks)):
        for box, mask in zip(boxes, masks):
            if mask.any():
                rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
                assert box.tolist() == [columns[0], rows[0], columns[-1], rows[-1]]
            else:
                assert box.tolist() == [0, 0, 0, 0]
    assert not DATA.test.degenerate.any()


def test_the_label_is_the_class_of_the_brighter_item():
    split = DATA.test
    two = split.second_labels >= 0
    assert two.sum() == 40
    assert torch.equal(two, split.second_masks.flatten(1).any(1))
    assert (split.labels != split.second_labels).all()
    mean = lambda masks: (split.images[:, 0] * masks).flatten(1).sum(1) / masks.flatten(1).sum(1)
    assert (mean(split.masks) > 1.5 * mean(split.second_masks))[two].all()
    assert split.labels.bincount(minlength=5).min() > 0


def test_boxes_of_two_items_do_not_overlap():
    split = DATA.train[DATA.train.second_labels >= 0]
    a, b = split.boxes, split.second_boxes
    apart = (a[:, 2:] < b[:, :2]).any(1) | (b[:, 2:] < a[:, :2]).any(1)
    assert apart.all()


def test_seeds_and_settings():
    again, other = load("placed", train=60, test=80), load("placed", train=60, test=80, seed=1)
    assert again.checksum == DATA.checksum
    assert torch.equal(again.train.images, DATA.train.images)
    assert other.checksum != DATA.checksum
    assert not torch.equal(other.train.images, DATA.train.images)
    single = load("placed", train=5, test=5, two=0.0).train
    assert (single.second_labels == -1).all()
    assert torch.equal(load("placed", train=3, test=80).test.images, DATA.test.images)
    assert DATA.shape == (1, 56, 56)
    assert len(DATA.train[:7].backgrounds) == 7


def test_bad_settings_are_explained():
    with pytest.raises(ValueError, match="train must be a whole number of at least 1, got 0"):
        load("placed", train=0)
    with pytest.raises(ValueError, match=r"two must lie in \[0, 1\]"):
        load("placed", two=1.5)
    with pytest.raises(ValueError, match="the source must be Fashion-MNIST"):
        placed(load("half-moons", points=10))

"""Manifolds with known tangents, and tangents of images: against geodesics, a plane, and finite shifts."""

import pytest
import torch

from holdfast.data import Split, embedded_moons, embedded_spheres, load, local_pca, shift_tangents


@pytest.mark.parametrize(("make", "dimension", "span"), [(embedded_moons, 1, 2), (embedded_spheres, 2, 3)])
def test_tangents_are_orthonormal_and_lie_in_the_span_of_the_data(make, dimension, span):
    data = make(ambient=9, train=300, test=50)
    t = data.test.tangents.double()
    assert t.shape == (50, 9, dimension)
    assert torch.allclose(t.mT @ t, torch.eye(dimension).double().expand(50, -1, -1), atol=1e-5)
    flat = data.train.images.double() - 0.5
    rows = torch.linalg.svd(flat - flat.mean(0)).Vh[:span]
    assert torch.allclose(t - rows.T @ (rows @ t), torch.zeros_like(t), atol=1e-5)
    assert float(data.train.images.min()) >= 0
    assert float(data.train.images.max()) <= 1


@pytest.mark.parametrize("make", [embedded_moons, embedded_spheres])
def test_near_points_of_a_class_differ_along_the_tangent(make):
    data = make(ambient=7, train=6000, test=20)
    for n in range(20):
        own = data.train.images[data.train.labels == data.test.labels[n]].double()
        d = own - data.test.images[n].double()
        d = d[d.norm(dim=1).argsort()[:5]]
        t = data.test.tangents[n].double()
        across = d - d @ t @ t.T
        assert float(across.norm()) < 0.1 * float(d.norm())


def test_classes_of_spheres_differ_along_the_normal_only():
    data = embedded_spheres(ambient=8, train=10, test=40)
    points = data.test.images.double() - 0.5
    assert float(torch.einsum("bfd,bf->bd", data.test.tangents.double(), points).abs().max()) < 1e-6
    radii = points.norm(dim=1)
    assert float(radii[data.test.labels == 1].min() / radii[data.test.labels == 0].max()) == pytest.approx(
        1.3, rel=1e-4
    )


def test_subsets_keep_their_tangents():
    data = embedded_moons(ambient=5, train=10, test=6)
    assert torch.equal(data.test[[4, 1]].tangents, data.test.tangents[[4, 1]])


def test_shift_tangents_contain_the_shift_of_an_item():
    split = load("placed", train=2, test=8, two=0.0).test
    basis = shift_tangents(split).double()
    assert torch.allclose(basis.mT @ basis, torch.eye(2).double().expand(8, -1, -1), atol=1e-5)
    inner = split.boxes[:, 0].gt(1) & split.boxes[:, 2].lt(54)  # the item stays whole under the roll
    assert bool(inner.any())
    for n in inner.nonzero().flatten():
        image, mask, empty = split.images[n], split.masks[n], split.backgrounds[n]
        right, left = (torch.where(mask.roll(s, 1), image.roll(s, 2), empty) for s in (1, -1))
        d = (right - left).flatten().double()
        assert float((d - basis[n] @ (basis[n].T @ d)).norm()) < 1e-4 * float(d.norm())


def test_local_pca_finds_the_plane_of_each_class():
    generator = torch.Generator().manual_seed(0)
    flat = torch.zeros(200, 6)
    labels = torch.arange(200) % 2
    plane = torch.rand(200, 2, generator=generator)
    flat[labels == 0, :2], flat[labels == 1, 2:4] = plane[labels == 0], plane[labels == 1]
    split = Split(flat, labels)
    basis = local_pca(split[:10], split, neighbours=20, dimension=2)
    for n in range(10):
        inside = slice(0, 2) if labels[n] == 0 else slice(2, 4)
        assert float(basis[n, inside].square().sum()) == pytest.approx(2, abs=1e-4)


def test_wrong_input_is_one_clear_error():
    with pytest.raises(ValueError, match="embedded_spheres: ambient must lie in \\[4"):
        embedded_spheres(dimension=3, ambient=3)
    split = Split(torch.rand(4, 3), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="local_pca: class 0 has 4 images, fewer than 5"):
        local_pca(split, split, neighbours=6, dimension=4)

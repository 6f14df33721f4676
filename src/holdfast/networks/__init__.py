"""Networks: architectures, each a function `(shape of one image, classes, ...) -> nn.Module`.

Every factory returns an ordinary `nn.Module` with He-scaled weights drawn from its `seed`; the global random state is
left as it was.
"""

from holdfast.networks.activation import activation_module
from holdfast.networks.build import build
from holdfast.networks.compact import compact
from holdfast.networks.conv import conv
from holdfast.networks.fc2 import fc2
from holdfast.networks.filter_response import FilterResponseNorm
from holdfast.networks.initialise import initialise
from holdfast.networks.learnable import learnable_layers
from holdfast.networks.lenet import lenet
from holdfast.networks.mlp import mlp
from holdfast.networks.normalise import Normalise, normalised
from holdfast.networks.pretrained import load_pretrained
from holdfast.networks.published import PUBLISHED, Published, load_published
from holdfast.networks.recipe import rebuild
from holdfast.networks.resnet import resnet
from holdfast.networks.resnet2b import resnet2b
from holdfast.networks.shifted import Shift, shift_images, shifted
from holdfast.networks.small import small
from holdfast.networks.trained import TRAINED, Trained, load_trained

__all__ = [
    "PUBLISHED",
    "TRAINED",
    "FilterResponseNorm",
    "Normalise",
    "Published",
    "Shift",
    "Trained",
    "activation_module",
    "build",
    "compact",
    "conv",
    "fc2",
    "initialise",
    "learnable_layers",
    "lenet",
    "load_pretrained",
    "load_published",
    "load_trained",
    "mlp",
    "normalised",
    "rebuild",
    "resnet",
    "resnet2b",
    "shift_images",
    "shifted",
    "small",
]

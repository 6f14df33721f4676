"""Networks: architectures, each a function `(shape of one image, classes, ...) -> nn.Module`.

Every factory returns an ordinary `nn.Module` with He-scaled weights drawn from its `seed`; the global random state is
left as it was.
"""

from holdfast.networks.activation import activation_module
from holdfast.networks.build import build
from holdfast.networks.conv import conv
from holdfast.networks.fc2 import fc2
from holdfast.networks.initialise import initialise
from holdfast.networks.normalise import Normalise, normalised

__all__ = [
    "Normalise",
    "activation_module",
    "build",
    "conv",
    "fc2",
    "initialise",
    "normalised",
]

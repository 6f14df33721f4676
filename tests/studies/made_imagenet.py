"""A folder of ImageNet that was made up: a few small JPEGs with boxes, and a stand-in for torchvision's ResNet-50."""

import enum
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from holdfast.networks import normalised

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = {"n01440764": 0, "n03888257": 701}  # a red object, a blue one
BOX = "<annotation><object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
WEIGHTS = enum.Enum("ResNet50_Weights", ["IMAGENET1K_V1", "DEFAULT"])
WEIGHTS.transforms = lambda self: SimpleNamespace(mean=MEAN, std=STD)


class Bottleneck(nn.Module):
    """What ResNet-50 is made of: three convolutions, one ReLU that is used three times, in place, and a sum."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(nn.Conv2d(width, width, 1, 2, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.downsample(x)
        return self.relu(out)


class StandIn(nn.Module):
    """A thousand classes, of which it knows two: more red than blue is class 0, else class 701."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv1, self.bn1 = nn.Conv2d(3, 6, 7, 4, 3, bias=False), nn.BatchNorm2d(6)
            self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
            self.layer1, self.avgpool, self.fc = Bottleneck(6), nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(6, 1000)
        with torch.no_grad():
            self.eval().fc.weight.mul_(0.01)
            objects = torch.full((2, 3, 224, 224), 0.43)
            objects[:, :, 75:149, 75:149] = torch.eye(3)[[0, 2]].view(2, 3, 1, 1) * 0.8
            red, blue = self._features(normalised(nn.Identity(), MEAN, STD)(objects))
            for label, ahead in ((0, red - blue), (701, blue - red)):
                self.fc.weight[label] = 4 * ahead / ahead.square().sum()
                self.fc.bias[label] = -self.fc.weight[label] @ (red + blue) / 2

    def _features(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return torch.flatten(self.avgpool(self.layer1(x)), 1)

    def forward(self, x):
        return self.fc(self._features(x))


def torchvision(seed=1):
    """A module of torchvision's public shape."""
    made = {"resnet50": lambda weights: StandIn(seed)}
    models = SimpleNamespace(
        get_model=lambda name, weights: made[name](weights), get_model_weights=lambda name: WEIGHTS
    )
    return SimpleNamespace(models=models)


def write_folder(folder, each=2, side=64):
    """Images and boxes, below `folder`."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for channel, name in zip((0, 2), CLASSES, strict=True):
        for part in ("images", "boxes"):
            (folder / part / name).mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(90, 130, (side, side, 3), dtype=np.uint8)
            x, y = generator.integers(4, side // 2, 2)
            pixels[y : y + side // 3, x : x + side // 3] = np.eye(3, dtype=np.uint8)[channel] * 200
            file = f"{name}/ILSVRC2012_val_{number:08}"
            Image.fromarray(pixels).save(folder / "images" / f"{file}.JPEG", quality=95)
            box = BOX.format(name, x + 1, y + 1, x + side // 3, y + side // 3)
            (folder / "boxes" / f"{file}.xml").write_text(f"{box}</object></annotation>")
    return folder


def write_robust(file, seed=3):
    """A state dict, as safetensors or as `torch.save` writes it with what else a training keeps."""
    state = StandIn(seed).state_dict()
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"model": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, file)

"""Convolutional networks that are often verified or certifiably trained, at CIFAR-10 and ImageNet-64 sizes."""

from models.cnn import cnn_7layer_bn, small_cnn
from models.densenet import densenet
from models.mobilenet import mobilenet_v2
from models.resnet import resnet18, resnet_2b, resnet_4b, resnext, wide_resnet
from models.unet import unet
from models.vit import vit

#: Every model of the zoo by name; each takes `classes`, `size` (of the square image) and `width`.
ZOO = {
    "cnn_7layer_bn": cnn_7layer_bn,
    "resnet18": resnet18,
    "densenet": densenet,
    "resnext": resnext,
    "wide_resnet": wide_resnet,
    "mobilenet_v2": mobilenet_v2,
    "vit": vit,
    "unet": unet,
}

__all__ = [
    "ZOO",
    "cnn_7layer_bn",
    "densenet",
    "mobilenet_v2",
    "resnet18",
    "resnet_2b",
    "resnet_4b",
    "resnext",
    "small_cnn",
    "unet",
    "vit",
    "wide_resnet",
]

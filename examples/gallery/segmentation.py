r"""
Which pixels of a segmentation are certain?
===========================================

A small convolutional network says of every pixel whether it belongs to a shape. How many of its answers stay whatever the noise, up to
:math:`\varepsilon` in each pixel, does?
"""

import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

SIZE = 16


def scenes(count: int) -> tuple[Tensor, Tensor]:
    """Noisy pictures of one rectangle each, and which pixels belong to it."""
    at, size = torch.randint(1, 9, (count, 2)), torch.randint(4, 7, (count, 2))
    rows, columns = (
        torch.arange(SIZE).view(1, -1, 1),
        torch.arange(SIZE).view(1, 1, -1),
    )
    inside = [
        (place >= at[:, i].view(-1, 1, 1))
        & (place < (at + size)[:, i].view(-1, 1, 1))
        for i, place in enumerate((rows, columns))
    ]
    masks = (inside[0] & inside[1]).float().unsqueeze(1)
    return (0.15 + 0.7 * masks + 0.1 * torch.randn(masks.shape)).clamp(0, 1), masks


torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
    nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
    nn.ConvTranspose2d(8, 4, 2, stride=2), nn.ReLU(),
    nn.Conv2d(4, 1, 3, padding=1),
)  # fmt: skip
optimizer = torch.optim.Adam(network.parameters(), 0.01)
for _ in range(200):
    images, masks = scenes(32)
    loss = nn.functional.binary_cross_entropy_with_logits(network(images), masks)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
network.eval().requires_grad_(False)

# %%
# The output is a picture of scores, and so are its bounds. A pixel is certain where both have one sign.

image, mask = scenes(1)
model = BoundedModule(network, image)
radii = (0.02, 0.06, 0.12)
figure, axes = plt.subplots(
    1, len(radii) + 1, figsize=(9, 2.6), layout="constrained"
)
axes[0].imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
axes[0].set_title("picture")
shares = []
for drawn, eps in zip(axes[1:], radii):
    noise = BoundedTensor(image, PerturbationLpNorm(eps=eps, x_L=0.0, x_U=1.0))
    lower, upper = model.compute_bounds(noise, method="CROWN")
    certain = (lower > 0).float() - (
        upper < 0
    ).float()  # 1: shape, -1: background, 0: not known
    shares.append((certain != 0).float().mean().item())
    drawn.imshow(certain[0, 0], cmap="PuOr", vmin=-1, vmax=1)
    drawn.set_title(f"ε {eps:g}: {shares[-1]:.0%} certain")
    for _ in range(50):
        noisy = (image + eps * torch.randn(image.shape).sign()).clamp(0, 1)
        assert not ((network(noisy).sign() * certain) < 0).any()
for drawn in axes:
    drawn.set_axis_off()
plt.show()

# %%
# Orange is background and violet the shape, for every noise of the size. White is where the answer may change: first
# along the edges.

print(f"right as it is: {((network(image) > 0) == (mask > 0)).float().mean():.1%}")
assert shares == sorted(shares, reverse=True) and shares[0] > 0.9

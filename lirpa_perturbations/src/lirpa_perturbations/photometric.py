"""Light: brightness, contrast and uneven illumination of images, as affine sets of a few parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core import PerturbationLpNorm
from lirpa_core.errors import PerturbationError
from lirpa_perturbations.affine import PerturbationAffine


def brightness_contrast(x: Tensor, brightness: float = 0.0, contrast: float = 0.0) -> PerturbationAffine:
    """All images `(1 + c) x + b` with `|b| ≤ brightness` and `|c| ≤ contrast`.

    Values may leave [0, 1], as the affine map does; a model that clips its input should do so itself.
    Mohapatra et al. (2020), "Towards Verifying Robustness of Neural Networks Against a Family of
    Semantic Perturbations", certify this threat model.

    Args:
        x: The images that will be perturbed: contrast depends on them.
        brightness: Largest shift.
        contrast: Largest relative change of contrast.

    Raises:
        PerturbationError: For a negative amount, or two zero ones.
    """
    parts = []
    amounts = []
    for name, amount, basis in (
        ("brightness", brightness, torch.ones_like(x.as_subclass(Tensor))),
        ("contrast", contrast, x.as_subclass(Tensor)),
    ):
        _require_amount(name, amount)
        if amount > 0:
            parts.append(basis)
            amounts.append(amount)
    if not parts:
        raise PerturbationError("brightness and contrast are both 0, so nothing is perturbed")
    limit = torch.tensor(amounts, dtype=x.dtype, device=x.device)
    return PerturbationAffine(PerturbationLpNorm(x_L=-limit, x_U=limit), torch.stack(parts))


def bias_field(x: Tensor, eps: float, order: int = 2, *, multiplicative: bool = True) -> PerturbationAffine:
    """A smooth change of illumination: a polynomial over the image, with coefficients up to `eps`.

    The image becomes `x (1 + f)`, as the bias fields of magnetic resonance images act, or `x + f`, with
    `f = Σ c_ij uⁱ vʲ`, `i + j ≤ order`, where `u` and `v` run from -1 to 1 down and across. (Henriksen
    et al. 2021, "Bias Field Robustness Verification of Large Neural Image Classifiers", IJCAI.)

    Args:
        x: The images that will be perturbed, `[..., H, W]`.
        eps: Largest coefficient.
        order: Degree of the polynomial; 0 is a change of brightness.
        multiplicative: Whether the field multiplies the image.

    Raises:
        PerturbationError: For `eps` not positive or a negative `order`.
    """
    _require_amount("eps", eps)
    if type(order) is not int or order < 0:
        raise PerturbationError(f"order must be a whole number of at least 0, not {order!r}")
    plain = x.as_subclass(Tensor)
    u, v = (torch.linspace(-1, 1, size, dtype=x.dtype, device=x.device) for size in x.shape[-2:])
    fields = [u.unsqueeze(1) ** i * v**j for i in range(order + 1) for j in range(order + 1 - i)]
    basis = torch.stack([field * plain if multiplicative else field.expand_as(plain) for field in fields])
    limit = torch.full((len(fields),), float(eps), dtype=x.dtype, device=x.device)
    return PerturbationAffine(PerturbationLpNorm(x_L=-limit, x_U=limit), basis)


def _require_amount(name: str, amount: float) -> None:
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not 0 <= amount < float("inf"):
        raise PerturbationError(f"{name} must be a number of at least 0, not {amount!r}")

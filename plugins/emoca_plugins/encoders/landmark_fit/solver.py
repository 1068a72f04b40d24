"""Batched, robust, bounded Levenberg-Marquardt in which some unknowns may be shared by several items of the batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_FIRST_DAMPING, _MIN_DAMPING, _MAX_DAMPING = 1e-3, 1e-6, 1e6
_AT_BOUND = 1e-6


@dataclass(frozen=True)
class Prior:
    """What is known of the unknowns before looking at the points: independent normal densities inside a box.

    Attributes:
        mean: Expected value.
        precision: Inverse variance; 0 where nothing is known.
        lower: Smallest value allowed; -inf where there is no bound.
        upper: Largest value allowed.
    """

    mean: Float[Tensor, "B P"]
    precision: Float[Tensor, "B P"]
    lower: Float[Tensor, "B P"]
    upper: Float[Tensor, "B P"]


@dataclass(frozen=True)
class Sharing:
    """Which unknowns are common to which items.

    Attributes:
        columns: The first so many unknowns are shared within a group; all others belong to one item.
        group: Number of each item's group, 0, 1, ..., without gaps.
        count: Number of groups.
    """

    columns: int
    group: Int[Tensor, "B"]
    count: int

    @classmethod
    def by_label(cls, columns: int, labels: Int[Tensor, "B"]) -> "Sharing":
        """Items with equal labels form a group."""
        unique, group = torch.unique(labels, return_inverse=True)
        return cls(columns, group, len(unique))

    @property
    def members(self) -> Int[Tensor, "G"]:
        """One item of each group."""
        items = torch.arange(len(self.group), device=self.group.device)
        return self.group.new_empty(self.count).scatter_(0, self.group, items)

    def sum(self, values: Float[Tensor, "B *rest"]) -> Float[Tensor, "G *rest"]:
        """Sum over the items of each group."""
        return values.new_zeros(self.count, *values.shape[1:]).index_add_(0, self.group, values)

    def mean(self, values: Float[Tensor, "B *rest"]) -> Float[Tensor, "G *rest"]:
        """Mean over the items of each group."""
        size = torch.bincount(self.group, minlength=self.count).to(values.dtype)
        return self.sum(values) / size.reshape(-1, *[1] * (values.ndim - 1))


Residuals = Callable[[Tensor], Tensor]
"""[B, P] to N whitened residual vectors of D dimensions, [B, D, N]."""
Jacobian = Callable[[Tensor, Tensor], Tensor]
"""[B, P] and a weight of each residual vector, [B, N], to the weighted derivatives [B, P, D, N], unknowns first."""


def huber_weight(squared: Float[Tensor, "*n"], limit: float) -> Float[Tensor, "*n"]:
    """The weight that makes weighted least squares descend Huber's loss: 1 inside ``limit``, limit / r outside."""
    return (limit / squared.clamp_min(limit * limit).sqrt()).clamp_max(1.0)


def huber_loss(squared: Float[Tensor, "*n"], limit: float) -> Float[Tensor, "*n"]:
    """Huber's loss of a squared residual length: r^2 inside ``limit``, 2 limit r - limit^2 outside."""
    return torch.where(squared <= limit * limit, squared, 2 * limit * squared.clamp_min(1e-12).sqrt() - limit * limit)


def levenberg_marquardt(
    start: Float[Tensor, "B P"],
    residuals: Residuals,
    jacobian: Jacobian,
    prior: Prior,
    sharing: Sharing,
    *,
    iterations: int,
    robust_limit: float,
    tolerance: float = 1e-4,
) -> Float[Tensor, "B P"]:
    """Minimise sum_n huber(|r_n(x)|) + sum_p precision_p (x_p - mean_p)^2 inside the box of ``prior``.

    Every group has its own damping and accepts or rejects its own steps, so a batch gives what its items give alone.

    Args:
        start: First guess; shared unknowns are averaged over each group before use.
        residuals: Whitened residual vectors: of length about 1 where the model is right.
        jacobian: Their derivatives, weighted.
        prior: Regularisation and bounds. Shared unknowns must have the same prior within a group.
        sharing: Which unknowns are common to which items.
        iterations: At most so many steps.
        robust_limit: Length beyond which a residual counts linearly.
        tolerance: Stop when every group's last accepted step lowered its cost by less than this fraction.

    Returns:
        The best unknowns found; never worse than ``start``, and finite if the cost of ``start`` is.

    Source: Levenberg-Marquardt with Marquardt's scaling; iteratively reweighted least squares for Huber's loss; shared
    unknowns by the Schur complement, as in bundle adjustment (Triggs et al. 1999, section 6); bounds by two-metric
    projection (Bertsekas 1982).
    """
    x = _share(start, sharing).clamp(prior.lower, prior.upper)
    r = residuals(x)
    cost = _cost(x, r, prior, sharing, robust_limit)
    damping = torch.full_like(cost, _FIRST_DAMPING)
    done = torch.zeros_like(cost, dtype=torch.bool)
    for _ in range(iterations):
        weight = huber_weight(r.square().sum(1), robust_limit).sqrt()
        candidate = _step(x, r * weight[:, None], jacobian(x, weight), prior, sharing, damping)
        new_r = residuals(candidate)
        new_cost = _cost(candidate, new_r, prior, sharing, robust_limit)
        better = (new_cost < cost) & ~done
        small = better & (cost - new_cost < tolerance * cost)
        item = better[sharing.group]
        x = torch.where(item[:, None], candidate, x)
        r = torch.where(item[:, None, None], new_r, r)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 5, damping * 8).clamp(_MIN_DAMPING, _MAX_DAMPING)
        done = done | small | (damping >= _MAX_DAMPING)
        if bool(done.all()):
            break
    return x


def _share(x: Float[Tensor, "B P"], sharing: Sharing) -> Float[Tensor, "B P"]:
    shared = sharing.mean(x[:, : sharing.columns])[sharing.group]
    return torch.cat([shared, x[:, sharing.columns :]], dim=1)


def _cost(
    x: Float[Tensor, "B P"], r: Float[Tensor, "B D N"], prior: Prior, sharing: Sharing, limit: float
) -> Float[Tensor, "G"]:
    """Cost of each group; the prior of shared unknowns counts once."""
    data = huber_loss(r.square().sum(1), limit).sum(-1)
    penalty = prior.precision * (x - prior.mean).square()
    local = sharing.sum(data + penalty[:, sharing.columns :].sum(-1))
    cost = local + sharing.mean(penalty[:, : sharing.columns].sum(-1))
    return torch.where(cost.isfinite(), cost, torch.full_like(cost, torch.inf))


def _step(
    x: Float[Tensor, "B P"],
    r: Float[Tensor, "B D N"],
    derivatives: Float[Tensor, "B P D N"],
    prior: Prior,
    sharing: Sharing,
    damping: Float[Tensor, "G"],
) -> Float[Tensor, "B P"]:
    """One damped Gauss-Newton step of weighted residuals, projected into the box."""
    j = derivatives.flatten(2)
    hessian = j @ j.mT
    gradient = (r.flatten(1)[:, None] @ j.mT)[:, 0]  # a row times a matrix: ten times as fast as turned
    pull = prior.precision * (x - prior.mean)
    n = sharing.columns
    local_gradient = gradient[:, n:] + pull[:, n:]
    fixed = _held_by_bound(x[:, n:], local_gradient, prior.lower[:, n:], prior.upper[:, n:])
    free = (~fixed).to(x.dtype)
    # local unknowns of every item, then the Schur complement on the shared unknowns of every group
    h_local = _damped(hessian[:, n:, n:] + torch.diag_embed(prior.precision[:, n:]), damping[sharing.group])
    h_local = h_local * free[:, :, None] * free[:, None, :] + torch.diag_embed(1 - free)
    if n == 0:  # nothing is shared
        local_step = _solve(h_local, (local_gradient * free)[..., None])[..., 0]
        return (x - local_step).clamp(prior.lower, prior.upper)
    h_cross = hessian[:, n:, :n] * free[:, :, None]
    solved = _solve(h_local, torch.cat([h_cross, (local_gradient * free)[..., None]], dim=-1))
    by_cross, by_gradient = solved[..., :n], solved[..., n]
    h_shared = sharing.sum(hessian[:, :n, :n]) + torch.diag_embed(sharing.mean(prior.precision[:, :n]))
    reduced = _damped(h_shared, damping) - sharing.sum(h_cross.mT @ by_cross)
    shared_gradient = sharing.sum(gradient[:, :n]) + sharing.mean(pull[:, :n])
    right = shared_gradient - sharing.sum((h_cross.mT @ by_gradient[..., None])[..., 0])
    shared_step = _solve(reduced, right[..., None])[..., 0][sharing.group]
    local_step = by_gradient - (by_cross @ shared_step[..., None])[..., 0]
    return (x - torch.cat([shared_step, local_step], dim=1)).clamp(prior.lower, prior.upper)


def _held_by_bound(
    x: Float[Tensor, "B Q"], gradient: Float[Tensor, "B Q"], lower: Float[Tensor, "B Q"], upper: Float[Tensor, "B Q"]
) -> Bool[Tensor, "B Q"]:
    """Unknowns that lie on a bound and would leave the box."""
    return ((x <= lower + _AT_BOUND) & (gradient > 0)) | ((x >= upper - _AT_BOUND) & (gradient < 0))


def _damped(hessian: Float[Tensor, "N Q Q"], damping: Float[Tensor, "N"]) -> Float[Tensor, "N Q Q"]:
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    return hessian + torch.diag_embed(diagonal * damping[:, None] + 1e-9)


def _solve(matrix: Float[Tensor, "N Q Q"], right: Float[Tensor, "N Q K"]) -> Float[Tensor, "N Q K"]:
    """Solve positive definite systems of badly scaled unknowns in single precision.

    A system that is not positive definite to rounding gives a solution that is not finite; the step is then rejected
    and the damping raised.
    """
    scale = matrix.diagonal(dim1=-2, dim2=-1).clamp_min(1e-20).rsqrt()
    factor, info = torch.linalg.cholesky_ex(matrix * scale[:, :, None] * scale[:, None, :])
    solution = torch.cholesky_solve(right * scale[..., None], factor) * scale[..., None]
    return torch.where((info == 0)[:, None, None], solution, torch.full_like(solution, torch.nan))

"""Linear blend skinning over a kinematic tree: the pose half of FLAME-like models."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def linear_blend_skinning(
    vertices: Float[Tensor, "B V 3"],
    rotations: Float[Tensor, "B J 3 3"],
    joints: Float[Tensor, "B J 3"],
    parents: Sequence[int],
    weights: Float[Tensor, "V J"],
) -> tuple[Float[Tensor, "B V 3"], Float[Tensor, "B J 4 4"]]:
    """Pose vertices by the joint rotations, blended per vertex.

    Args:
        vertices: In the rest pose, pose correctives (FLAME's `posedirs`, a jaw corrective) added.
        rotations: Of each joint, relative to its parent.
        joints: Positions in the rest pose.
        parents: Parent of each joint, -1 for a root; a parent comes before its children.
        weights: Rows sum to 1.

    Returns:
        Posed vertices, and each joint's rest-to-posed world transform (`transform @ [rest point, 1]`).

    Raises:
        ValueError: `parents` does not fit `joints` or lists a child before its parent.

    Source: SMPL, Loper et al. 2015, eq. 2-4.
    """
    transforms = joint_transforms(rotations, joints, parents)
    # [B, 12, V]: every coefficient is a contiguous run over the vertices, so the products below vectorise
    blended = torch.matmul(transforms[:, :, :3].flatten(2).mT, weights.mT.to(vertices.dtype))
    rows = blended.reshape(vertices.shape[0], 3, 4, -1)
    x, y, z = vertices.mT.contiguous().unsqueeze(2).unbind(1)
    posed = torch.addcmul(rows[:, :, 3], rows[:, :, 0], x)
    posed = torch.addcmul(posed, rows[:, :, 1], y)
    return torch.addcmul(posed, rows[:, :, 2], z).mT.contiguous(), transforms


def joint_transforms(
    rotations: Float[Tensor, "B J 3 3"], joints: Float[Tensor, "B J 3"], parents: Sequence[int]
) -> Float[Tensor, "B J 4 4"]:
    """Chain the rotations of ``linear_blend_skinning`` into transforms from rest to posed positions.

    Joint j itself is moved by its ancestors only.

    Raises:
        ValueError: `parents` does not fit `joints` or lists a child before its parent.
    """
    if len(parents) != joints.shape[1] or any(parent >= child for child, parent in enumerate(parents)):
        raise ValueError(
            f"parents must name an earlier joint for each of the {joints.shape[1]} joints, got {tuple(parents)}"
        )
    world_rotations: list[Tensor] = []
    world_positions: list[Tensor] = []
    columns = joints.unsqueeze(-1)
    for joint, parent in enumerate(parents):
        if parent < 0:
            world_rotations.append(rotations[:, joint])
            world_positions.append(columns[:, joint])
        else:
            offset = columns[:, joint] - columns[:, parent]
            world_rotations.append(world_rotations[parent] @ rotations[:, joint])
            world_positions.append(world_rotations[parent] @ offset + world_positions[parent])
    rotation = torch.stack(world_rotations, 1)
    translation = torch.stack(world_positions, 1) - rotation @ columns
    bottom = rotation.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*rotation.shape[:2], 1, 4)
    return torch.cat([torch.cat([rotation, translation], -1), bottom], -2)

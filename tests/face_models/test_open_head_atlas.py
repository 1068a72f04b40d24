"""The texture atlas of the open head."""

import pytest
import torch

from emoca_core import get_registry


@pytest.mark.parametrize("part", ["eye_left", "eye_right", "face"])
def test_no_triangle_is_turned_over(part: str) -> None:
    """Where triangles overlapped, UV space would show the back of the eyeball on its front."""
    head = get_registry().build("face_model", "open_head")
    inside = head.vertex_masks[part][head.faces].all(1)
    a, b, c = head.uv[head.uv_faces[inside]].double().unbind(1)
    (x1, y1), (x2, y2) = (b - a).unbind(1), (c - a).unbind(1)
    assert torch.all(x1 * y2 - x2 * y1 > 0)

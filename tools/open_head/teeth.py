"""Single teeth and gums from MakeHuman's tooth proxy, decimated; each jaw is carried by its band of helper vertices."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from tools.open_head.decimate import decimate
from tools.open_head.sources import Archive, Proxy, read_proxy

PROXY = "proxies/teeth/Teeth_Base/Teeth_Base.json"
FIRST_UPPER_REFERENCE = 15060
"""hm08 vertices from here on are the helper band of the upper teeth, before it that of the lower."""
FRONT_DEPTH = 0.128
"""Teeth whose centre lies in front of this z (metres, base mesh) show when a face smiles and keep more vertices."""
FRONT_VERTICES, SIDE_VERTICES = 30, 16
GUM_VERTICES_PER_SIDE = 110
GUM_BACK, GUM_DEPTH = 0.110, 0.012
"""Gums behind this z, or further inside the arch than this from their front edge, never show and are left out."""


@dataclass(frozen=True)
class Teeth:
    """Teeth and gums in the base mesh.

    Attributes:
        vertices: [N, 3] metres.
        triangles: [F, 3] into the N vertices.
        part: [F] 'teeth_upper', 'teeth_lower', 'gums_upper' or 'gums_lower'.
        upper: [N] vertices of the upper jaw.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    upper: np.ndarray


def affine_carrier(points: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Matrix [N, M] that moves points with the affine motion closest to a band's.

    `matrix @ band` equals the points; moved bands give affinely moved points, so jaw rotations stay rotations.
    (The proxy's own references extrapolate from three vertices, which tears teeth apart when the band bends.)

    Args:
        points: [N, 3] rest positions.
        band: [M, 3] rest positions of the carrying vertices.
    """
    homogeneous = lambda x: np.concatenate([x, np.ones((len(x), 1))], 1)  # noqa: E731
    matrix: np.ndarray = homogeneous(points) @ np.linalg.pinv(homogeneous(band))
    return matrix


def build_teeth(makehuman: Archive, base_vertices: np.ndarray) -> Teeth:
    """Decimate the left half of the denture and mirror it; wisdom teeth are left out."""
    proxy = read_proxy(makehuman, PROXY)
    vertices = proxy.on(base_vertices)
    triangles = np.array([t for p in proxy.polygons for t in ([p[:3], [p[0], p[2], p[3]]] if len(p) == 4 else [p])])
    component = _components(triangles, len(vertices))
    gums = np.bincount(component).argmax()
    upper: np.ndarray = np.all(proxy.references >= FIRST_UPPER_REFERENCE, axis=1)
    pieces: list[tuple[np.ndarray, str]] = []
    for index in range(component.max() + 1):
        own = triangles[(component[triangles] == index).all(1)]
        centre = vertices[component == index].mean(0)
        if index == gums:
            pieces += _half_gums(vertices, own, upper)
        elif centre[0] > 0 and not _is_wisdom_tooth(vertices, component, index, upper):
            count = FRONT_VERTICES if centre[2] > FRONT_DEPTH else SIDE_VERTICES
            jaw = "upper" if upper[component == index].all() else "lower"
            pieces.append((decimate(vertices, own, count), f"teeth_{jaw}"))
    return _mirrored(proxy, vertices, pieces)


def _components(triangles: np.ndarray, count: int) -> np.ndarray:
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _is_wisdom_tooth(vertices: np.ndarray, component: np.ndarray, index: int, upper: np.ndarray) -> bool:
    """The rearmost tooth of its quadrant."""
    own = component == index
    same_jaw = [
        i
        for i in range(component.max() + 1)
        if np.sum(component == i) < 200 and upper[component == i].all() == upper[own].all()
    ]
    rear = min(vertices[component == i][:, 2].mean() for i in same_jaw)
    return bool(vertices[own][:, 2].mean() < rear + 1e-4)


def _half_gums(vertices: np.ndarray, triangles: np.ndarray, upper: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Left halves of both gums; the vertices on the mid plane stay, so that the mirrored half joins without a gap."""
    pieces = []
    left = (vertices[triangles][..., 0] > -1e-4).all(1)
    for jaw, members in (("upper", upper), ("lower", ~upper)):
        own = triangles[left & members[triangles].all(1)]
        own = own[_on_arch(vertices)[own].any(1)]
        on_middle = np.abs(vertices[:, 0]) < 1e-4
        pieces.append((decimate(vertices, own, GUM_VERTICES_PER_SIDE, on_middle & (upper == members)), f"gums_{jaw}"))
    return pieces


def _on_arch(vertices: np.ndarray) -> np.ndarray:
    """Vertices [V] near the outer face of the dental arch, an ellipse that encloses all teeth."""
    x, z = np.abs(vertices[:, 0]), vertices[:, 2]
    front, back = z.max(), GUM_BACK - 0.02
    half_width = x[z > GUM_BACK].max()
    distance = 1 - np.hypot(x / half_width, np.clip((z - back) / (front - back), 0, None))
    near: np.ndarray = (z > GUM_BACK) & (distance * half_width < GUM_DEPTH)
    return near


def _mirrored(proxy: Proxy, vertices: np.ndarray, pieces: list[tuple[np.ndarray, str]]) -> Teeth:
    twin = cKDTree(vertices).query(vertices * [-1, 1, 1])[1]
    triangles = np.concatenate([np.concatenate([t, twin[t][:, ::-1]]) for t, _ in pieces])
    part = np.concatenate([np.repeat(name, 2 * len(t)) for t, name in pieces])
    used, compact = np.unique(triangles, return_inverse=True)
    return Teeth(
        vertices[used],
        compact.reshape(-1, 3),
        part.astype(str),
        (proxy.references[used] >= FIRST_UPPER_REFERENCE).all(1),
    )

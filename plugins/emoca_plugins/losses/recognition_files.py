"""Published weights of the face recognition network."""

from emoca_core.formats import Format, Use

VGGFACE2_RESNET50 = Format(
    "vggface2_resnet50",
    entries={
        "conv1.weight": "64 3 7 7",
        "layer4.0.downsample.0.weight": "2048 1024 1 1",
        "fc.weight": "8631 2048",  # the people of VGGFace2
    },
    containers=("pickle",),
    convert=lambda content: {n: content.array(n) for n in content.shapes if not n.startswith("fc.")},
    # the same network with squeeze-and-excitation has two more convolutions in every block
    matches=lambda content: not any(".conv4." in name for name in content.shapes),
    used_by=(Use("loss", "identity"),),
)
FORMATS = (VGGFACE2_RESNET50,)

"""How often ``open_fit`` doubts the faces of some folders, and why: the measure behind its limits.

python benchmarks/quality.py FOLDER... [--every 1] [--list]
"""

import argparse
from collections import Counter
from pathlib import Path

from emoca_core import load_method, reconstruct
from emoca_core.errors import ImageError
from emoca_core.images.photo_search import find_photos
from emoca_core.reconstruction.quality import LIMITS


def main() -> None:
    """One row per folder: photos, faces, doubtful faces, and how many each limit alone doubts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one photo of N")
    parser.add_argument("--list", action="store_true", help="name every face and its verdict")
    options = parser.parse_args()
    method = load_method("open_fit", change={"encoder": {"params": {"appearance": False}}})
    rows = ["| folder | photos | faces | doubtful | " + " | ".join(limit.figure for limit in LIMITS) + " |"]
    rows.append("|---|" + "---:|" * (len(LIMITS) + 3))
    for folder in options.folders:
        photos = find_photos(folder)[:: options.every]
        faces, doubtful, by_limit = 0, 0, Counter[str]()
        for photo in photos:
            try:
                found = reconstruct(method, photo)
            except ImageError as error:
                print(f"{photo}: {error}")
                continue
            for face in found:
                quality = face.quality
                faces, doubtful = faces + 1, doubtful + quality.is_doubtful
                by_limit.update(limit.figure for limit in LIMITS if limit.reason(quality.figures[limit.figure]))
                if options.list:
                    print(f"{photo}: face {face.index}: {quality.verdict}: {'; '.join(quality.reasons)}", flush=True)
        counts = [len(photos), faces, doubtful, *(by_limit[limit.figure] for limit in LIMITS)]
        rows.append(f"| {folder.name} | " + " | ".join(map(str, counts)) + " |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()

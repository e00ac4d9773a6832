"""Embedded data, readers, binarisation, and the resumable loader; everything here works offline."""

from linsight.data import binarize, noise
from linsight.data.bitmaps import Bitmaps, bitmap_files, read_bitmaps
from linsight.data.digits import images, mnist
from linsight.data.identity import fingerprint, generated_fingerprint
from linsight.data.listops import LISTOPS, ListOps
from linsight.data.loader import Loader
from linsight.data.own_text import SplitText, read_text_split
from linsight.data.pathfinder import PATHFINDERS, Pathfinder
from linsight.data.people import People, PeopleScene, PeopleScenes, Portraits
from linsight.data.recall import IGNORED, RecallData, Recalled, recall
from linsight.data.scenes import Scene, Scenes
from linsight.data.sequential import PERMUTATION, classified, permutation
from linsight.data.splits import SPLITS
from linsight.data.texts import shakespeare, shakespeare_works

__all__ = [
    "IGNORED",
    "LISTOPS",
    "PATHFINDERS",
    "PERMUTATION",
    "SPLITS",
    "Bitmaps",
    "ListOps",
    "Loader",
    "Pathfinder",
    "People",
    "PeopleScene",
    "PeopleScenes",
    "Portraits",
    "RecallData",
    "Recalled",
    "Scene",
    "Scenes",
    "SplitText",
    "binarize",
    "bitmap_files",
    "classified",
    "fingerprint",
    "generated_fingerprint",
    "images",
    "mnist",
    "noise",
    "permutation",
    "read_bitmaps",
    "read_text_split",
    "recall",
    "shakespeare",
    "shakespeare_works",
]

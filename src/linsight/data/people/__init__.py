"""Synthetic people with exact keypoints, visibility, boxes, masks, depth and cameras."""

from linsight.data.people.appearance import Clothes, Surroundings
from linsight.data.people.camera import Camera
from linsight.data.people.capsules import CAPSULES, PARTS, Capsules, Surface, capsules, rasterise
from linsight.data.people.export import people_ground_truth, write_people
from linsight.data.people.generator import People, Portraits, render
from linsight.data.people.scenes import PeopleScene, PeopleScenes, compose
from linsight.data.people.skeleton import JOINTS, PAIRS, Angles, Skeleton, skeleton

__all__ = [
    "CAPSULES",
    "JOINTS",
    "PAIRS",
    "PARTS",
    "Angles",
    "Camera",
    "Capsules",
    "Clothes",
    "People",
    "PeopleScene",
    "PeopleScenes",
    "Portraits",
    "Skeleton",
    "Surface",
    "Surroundings",
    "capsules",
    "compose",
    "people_ground_truth",
    "rasterise",
    "render",
    "skeleton",
    "write_people",
]

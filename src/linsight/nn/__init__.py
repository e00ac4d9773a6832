"""Small shared modules and functions."""

from linsight.nn.feature_maps import FeatureMap, feature_map, feature_maps
from linsight.nn.glu import GatedMLP
from linsight.nn.norms import simple_rms_norm
from linsight.nn.positions import rotary
from linsight.nn.random_features import RandomProjection, Scaling, orthogonal_gaussian
from linsight.nn.relative_bias import RelativeBias

__all__ = [
    "FeatureMap",
    "GatedMLP",
    "RandomProjection",
    "RelativeBias",
    "Scaling",
    "feature_map",
    "feature_maps",
    "orthogonal_gaussian",
    "rotary",
    "simple_rms_norm",
]

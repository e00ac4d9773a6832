"""Small shared modules and functions."""

from linsight.nn.feature_maps import FeatureMap, feature_map, feature_maps
from linsight.nn.glu import GatedMLP
from linsight.nn.positions import rotary

__all__ = ["FeatureMap", "GatedMLP", "feature_map", "feature_maps", "rotary"]

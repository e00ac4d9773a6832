"""Published negative log likelihoods of binarised MNIST, and what differs from our setting."""

from linsight.tasks.exhibits import Table

__all__ = ["KNOWN_NATS", "NOTE", "known_table"]

KNOWN_NATS: tuple[tuple[str, float, str, str], ...] = (
    ("FVSBN", 96.58, "dynamic", "pytorch-generative's README"),
    ("MADE, 500 hidden, one ordering", 94.5, "SM08 fixed, validation", "karpathy/pytorch-made's README"),
    ("NADE-k, 2 hidden layers, mean of 10 orderings", 87.13, "SM08 fixed", "yaoli/nade_k's README"),
    ("MADE, 8,000 hidden", 84.87, "dynamic", "pytorch-generative's README"),
    ("Gated PixelCNN", 81.50, "dynamic, test noise drawn anew", "pytorch-generative's README"),
    ("PixelCNN", 81.30, "SM08 fixed", "van den Oord et al. 2016, arXiv 1601.06759"),
    ("Diagonal BiLSTM, 7 layers", 79.20, "SM08 fixed", "van den Oord et al. 2016, arXiv 1601.06759"),
)
"""Model, nats per image, the binarisation it was tested on, and where the figure stands."""

NOTE = (
    "Published figures are of the 10,000 test images unless they say otherwise. Ours is measured on "
    "fixed-v1, linsight's own fixed Bernoulli draw; that of Salakhutdinov & Murray 2008 (SM08) is no longer "
    "served. Same law, other noise: differences of a few tenths of a nat between draws mean nothing. The "
    "published models had no labels, and hours or days of training."
)


def known_table() -> Table:
    """The published figures alone."""
    rows = tuple((name, f"{nats:.2f}", data, source) for name, nats, data, source in KNOWN_NATS)
    columns = ("model", "nats", "binarisation", "source")
    return Table("published", "Published -log p(x) of binarised MNIST, nats per image", columns, rows, NOTE)

"""What images cost when a density compresses them, beside what they cost other compressors."""

import copy
import importlib.util

import torch
from torch import Tensor

from linsight.densities import Autoregressive
from linsight.tasks.base import Progress
from linsight.tasks.exhibits import Exhibit, Table
from linsight.tasks.generate.compression import Archive, compress, decompress, png_bytes, xz_bytes

__all__ = ["coding_exhibits"]

_TITLE = "Lossless compression"


def coding_exhibits(
    model: Autoregressive, x: Tensor, *, images: int = 100, progress: Progress | None = None
) -> tuple[dict[str, float], tuple[Exhibit, ...]]:
    """Bits of the first `images` of x `(number, height, width)`, compressed and read again on the CPU.

    Without the extra `compress` nothing is measured, and the table says so.
    """
    if importlib.util.find_spec("constriction") is None:
        note = "Not measured: it needs the package constriction, pip install 'linsight[compress]'."
        return {}, (Table("compression", _TITLE, ("",), (), note),)
    x, model = x[:images], copy.deepcopy(model).cpu()
    content, ledger = compress(model, x, model="", progress=progress)
    archive = Archive.from_bytes(content, where="report")
    exact = torch.equal(decompress(model, archive, model="", where="report", progress=progress), x)
    sizes = {
        "-log2 p(x)": ledger.model_bits / 8,
        "range coder": ledger.coded_bits / 8,
        "linsight compress: with header and checksums": ledger.file_bytes,
        "xz -6 of packed bits": xz_bytes(x),
        "PNG, one tall picture": png_bytes(x),
    }
    rows = tuple((name, f"{8 * size / len(x):.2f}", f"{size / len(x):.2f}") for name, size in sizes.items())
    came = "came back bit for bit" if exact else "did NOT come back"
    note = (
        f"{len(x)} images, which {came}. The coder spends {100 * ledger.overhead:.3f} % more than the model "
        "says; encoder and decoder walk cell by cell with the state carried, as sampling does."
    )
    metrics = {"coded_bits_per_image": ledger.coded_bits / len(x)}
    return metrics, (Table("compression", _TITLE, ("", "bits an image", "bytes an image"), rows, note),)

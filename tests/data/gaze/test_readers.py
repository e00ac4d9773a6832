"""Readers of public gaze data, on files that the tests write as the data sets do."""

import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from linsight.data.gaze import convert, vectors_of
from linsight.data.gaze.readers import (
    GAZEHUB_LAYOUTS,
    GazeRecord,
    gaze360,
    gaze360_list,
    gazehub,
    mpiifacegaze,
    mpiigaze,
)
from linsight.data.gaze.readers.mpiigaze import check_faces, face_record
from linsight.ops import to_vector

FEW = pytest.mark.filterwarnings("ignore:.*published numbers are of 3000 a person")
RANDOM = np.random.default_rng(0)


def vector(pitch: float, yaw: float) -> np.ndarray:
    """The gaze in MPIIGaze's own formula."""
    across, up = math.cos(pitch) * math.sin(yaw), math.sin(pitch)
    return -np.array([across, up, math.cos(pitch) * math.cos(yaw)])


def pose(pitch: float, yaw: float) -> np.ndarray:
    """A rotation vector whose matrix has a third column z with pitch = asin z_y and yaw = atan2(z_x, z_z).

    The shortest turn from (0, 0, 1) to z.
    """
    z = np.array([math.cos(pitch) * math.sin(yaw), math.sin(pitch), math.cos(pitch) * math.cos(yaw)])
    axis = np.cross([0, 0, 1], z)
    return axis / np.linalg.norm(axis) * math.acos(z[2])


def picture(path: Path, colour: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((4, 6, 3), colour, np.uint8)
    Image.fromarray(pixels).save(path)
    return np.asarray(Image.open(path).convert("RGB"))


def day(folder: Path, name: str, number: int, **changes: Any) -> dict[str, Any]:
    """Write a day of MPIIGaze; angles of eye i are (.1 + i / 100, .2) left and (.1, -.3 - i / 100) right."""
    eyes = {}
    for side in ("left", "right"):
        angles = [(0.1 + i / 100, 0.2) if side == "left" else (0.1, -0.3 - i / 100) for i in range(number)]
        eyes[side] = {
            "image": RANDOM.integers(0, 256, (number, 36, 60), np.uint8),
            "gaze": np.stack([vector(*pair) for pair in angles]),
            "pose": np.stack([pose(0.15, 0.25) for _ in range(number)]),
        }
    filenames = np.array([f"{i:04d}.jpg" for i in range(1, number + 1)], object)
    content = {"data": eyes, "filenames": filenames} | changes
    path = folder / "Data" / "Normalized" / "p00" / f"{name}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content)
    return eyes


def listing(folder: Path, *lines: str) -> Path:
    path = folder / "Evaluation Subset" / "sample list for eye image" / "p00.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@FEW
def test_mpiigaze_reads_the_eyes_of_the_list_in_its_order(tmp_path):
    first, second = day(tmp_path, "day01", 3), day(tmp_path, "day02", 2)
    listing(tmp_path, "day02/0002.jpg left", "day01/0001.jpg right", "day01/0003.jpg left")
    records = list(mpiigaze(tmp_path))
    assert [record.frame for record in records] == ["day02/0002.jpg", "day01/0001.jpg", "day01/0003.jpg"]
    assert [record.side for record in records] == ["left", "right", "left"]
    assert {record.person for record in records} == {"p00"}
    assert {record.label_rule for record in records} == {"M"}
    np.testing.assert_array_equal(records[0].image, second["left"]["image"][1])
    np.testing.assert_allclose(records[0].gaze, [0.11, 0.2], atol=1e-12)
    np.testing.assert_allclose(records[0].head, [0.15, 0.25], atol=1e-12)
    # The mirror test: a right eye is flipped, both yaws change sign, no pitch does.
    assert [record.mirrored for record in records] == [False, True, False]
    np.testing.assert_array_equal(records[1].image, first["right"]["image"][0][:, ::-1])
    np.testing.assert_allclose(records[1].gaze, [0.1, 0.3], atol=1e-12)
    np.testing.assert_allclose(records[1].head, [0.15, -0.25], atol=1e-12)


@FEW
@pytest.mark.parametrize("number", [1, 2])
def test_mpiigaze_reads_all_eyes_and_a_day_of_one_image(tmp_path, number):
    """MATLAB's files squeeze an axis of length 1."""
    eyes = day(tmp_path, "day07", number)
    records = list(mpiigaze(tmp_path, ["p00"], evaluation=False))
    assert [record.side for record in records] == ["left", "right"] * number
    assert records[0].frame == "day07/0001.jpg"
    for row in range(number):
        np.testing.assert_array_equal(records[2 * row].image, eyes["left"]["image"][row])
        np.testing.assert_allclose(records[2 * row].gaze, [0.1 + row / 100, 0.2], atol=1e-12)


def test_fewer_than_3000_are_said(tmp_path):
    day(tmp_path, "day01", 2)
    with pytest.warns(UserWarning, match="p00: 4 samples; published numbers are of 3000 a person"):
        list(mpiigaze(tmp_path, evaluation=False))


@FEW
def test_mpiigaze_refuses_what_is_not_there_and_what_is_no_label(tmp_path):
    with pytest.raises(FileNotFoundError, match="Normalized: there is no such folder"):
        mpiigaze(tmp_path)
    day(tmp_path, "day01", 2)
    with pytest.raises(FileNotFoundError, match=r"p00\.txt: there is no such file"):
        list(mpiigaze(tmp_path))
    for lines, kind, message in (
        (["day01/0001.jpg"], ValueError, "line 1: expected 'day/name left|right', got 'day01/0001.jpg'"),
        (
            ["day01/0001.jpg up"],
            ValueError,
            "line 1: expected 'day/name left|right', got 'day01/0001.jpg up'",
        ),
        (["", "day01/0009.jpg left"], ValueError, "line 2: expected an image of day01.mat, got '0009.jpg'"),
        (["day03/0001.jpg left"], FileNotFoundError, "day03.mat: there is no such file"),
    ):
        listing(tmp_path, *lines)
        with pytest.raises(kind) as raised:
            list(mpiigaze(tmp_path))
        assert message in str(raised.value)
    with pytest.raises(FileNotFoundError, match="p01: there is no such folder"):
        list(mpiigaze(tmp_path, ["p01"], evaluation=False))

    def refuse(message: str, **changes: Any) -> None:
        day(tmp_path, "day01", 2, **changes)
        with pytest.raises(ValueError, match=message):
            list(mpiigaze(tmp_path, evaluation=False))

    eyes = day(tmp_path, "day01", 2)
    lacking = {
        "left": eyes["left"],
        "right": {"image": eyes["right"]["image"], "gaze": eyes["right"]["gaze"]},
    }
    refuse(r"day01\.mat: expected data.right.pose of shape \(2, 3\), got \(\)", data=lacking)
    few = {"left": {**eyes["left"], "gaze": eyes["left"]["gaze"][:1]}, "right": eyes["right"]}
    refuse(r"expected data.left.gaze of shape \(2, 3\), got \(3,\)", data=few)
    across = {
        "left": {**eyes["left"], "image": eyes["left"]["image"].transpose(0, 2, 1)},
        "right": eyes["right"],
    }
    refuse(r"expected data.left.image of shape \(2, 36, 60\), got \(2, 60, 36\)", data=across)
    unknown = {
        "left": {**eyes["left"], "gaze": eyes["left"]["gaze"] * np.array([[1], [np.nan]])},
        "right": eyes["right"],
    }
    refuse(r"row 1 of data.left: expected a finite gaze, got \[nan, nan, nan\]", data=unknown)
    day(tmp_path, "day01", 2)
    savemat(tmp_path / "Data" / "Normalized" / "p00" / "day01.mat", {"other": 1})
    with pytest.raises(ValueError, match="expected the variables data and filenames, got others"):
        list(mpiigaze(tmp_path, evaluation=False))
    (tmp_path / "Data" / "Normalized" / "p00" / "day01.mat").write_bytes(b"no MATLAB at all")
    with pytest.raises(ValueError, match=r"day01\.mat: expected a file of MATLAB, version 5"):
        list(mpiigaze(tmp_path, evaluation=False))


def test_the_rows_of_mpiifacegaze_are_gaze_then_head_and_channels_come_last():
    faces = RANDOM.integers(0, 256, (3, 8, 10)).astype(np.float64)
    record = face_record(Path("p03.mat"), "p03", 7, faces, np.array([0.1, -0.2, 0.3, 0.4, 9.0]))
    assert record.image.shape == (8, 10, 3)
    np.testing.assert_array_equal(record.image[2, 5], faces[:, 2, 5])
    assert record.gaze.tolist() == [0.1, -0.2]
    assert record.head.tolist() == [0.3, 0.4]
    assert (record.person, record.side, record.frame, record.label_rule) == ("p03", "face", "7", "R")
    with pytest.raises(
        ValueError, match=r"p03\.mat: row 7 of Data/label: expected a finite label, got \[nan"
    ):
        face_record(Path("p03.mat"), "p03", 7, faces, np.array([np.nan, 0, 0, 0]))


@pytest.mark.parametrize(
    ("data", "label"),
    [
        ((8, 10, 3, 5), (4, 5)),
        ((5, 3, 8, 10), (4, 5)),
        ((5, 3, 8, 10), (5, 3)),
        ((5, 1, 8, 10), (5, 4)),
        ((5,), (5, 4)),
    ],
)
def test_transposed_arrays_of_mpiifacegaze_are_refused(data, label):
    with pytest.raises(
        ValueError, match=r"p00\.mat: expected Data/data \(N, 3, height, width\) and Data/label"
    ):
        check_faces(Path("p00.mat"), data, label)


@FEW
def test_mpiifacegaze_reads_files_of_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    faces = RANDOM.integers(0, 256, (4, 3, 8, 10)).astype(np.float32)
    label = RANDOM.normal(0, 0.2, (4, 16))
    with h5py.File(tmp_path / "p05.mat", "w") as file:
        file["Data/data"], file["Data/label"] = faces, label
    records = list(mpiifacegaze(tmp_path))
    assert [record.frame for record in records] == ["0", "1", "2", "3"]
    assert {record.person for record in records} == {"p05"}
    for row, record in enumerate(records):
        np.testing.assert_array_equal(record.image, faces[row].transpose(1, 2, 0))
        np.testing.assert_allclose(record.gaze, label[row, :2])
        np.testing.assert_allclose(record.head, label[row, 2:4])
    with h5py.File(tmp_path / "p05.mat", "w") as file:
        file["Data/data"], file["Data/label"] = faces.T, label.T
    with pytest.raises(ValueError, match="are the axes the wrong way round"):
        list(mpiifacegaze(tmp_path))
    with h5py.File(tmp_path / "p05.mat", "w") as file:
        file["Data/data"] = faces
    with pytest.raises(ValueError, match="expected Data/data and Data/label, got neither or one"):
        list(mpiifacegaze(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"p09\.mat: there is no such file"):
        list(mpiifacegaze(tmp_path, ["p09"]))


def test_packages_that_are_not_there_are_named(tmp_path, monkeypatch):
    (tmp_path / "p00.mat").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"need the package h5py: pip install 'linsight\[gaze\]'"):
        list(mpiifacegaze(tmp_path))
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ImportError, match=r"need the package scipy: pip install 'linsight\[gaze\]'"):
        list(gaze360(tmp_path, "train"))
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "list.txt").write_text("a.jpg 0 0 -1\n")
    with pytest.raises(ImportError, match=r"need the package pillow: pip install 'linsight\[gaze\]'"):
        list(gaze360_list(tmp_path / "list.txt", tmp_path))
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        mpiifacegaze(tmp_path / "nowhere")


def hub_line(
    layout: str, gaze: tuple[float, float], head: tuple[float, float], *, swapped: bool = False
) -> str:
    """A line of GazeHub: gaze and head (pitch, yaw) written as (yaw, pitch), and the vector if any."""
    columns = GAZEHUB_LAYOUTS[layout]
    fields = ["p02/face/1.jpg", "p02/left/1.jpg", "p02/right/1.jpg", *["0,0"] * 6]
    pairs = {columns.gaze2d: gaze, columns.head2d: head}
    for column, (pitch, yaw) in ((column, pair) for column, pair in pairs.items() if column is not None):
        fields[column] = f"{pitch},{yaw}" if swapped else f"{yaw},{pitch}"
    if columns.gaze3d is not None:
        fields[columns.gaze3d] = ",".join(str(number) for number in vector(*gaze))
    if columns.name is not None:
        fields[columns.name] = "day01/0005.jpg"
    last = max(column for column in columns[:4] if column is not None)
    return " ".join(fields[: max(last + 1, 3 if columns.eyes else 1)])


@pytest.mark.parametrize("layout", GAZEHUB_LAYOUTS)
def test_gazehub_reads_the_columns_of_each_data_set(tmp_path, layout):
    label = tmp_path / "p02.label"
    label.write_text("Face Left Right and so on\n" + hub_line(layout, (0.1, -0.2), (0.3, 0.4)) + "\n\n")
    shown = picture(tmp_path / "images" / "p02" / "face" / "1.jpg", 77)
    (record,) = gazehub(label, tmp_path / "images", layout)
    np.testing.assert_array_equal(record.image, shown)
    np.testing.assert_allclose(record.gaze, [0.1, -0.2])
    if GAZEHUB_LAYOUTS[layout].head2d is None:
        assert np.isnan(record.head).all()
    else:
        np.testing.assert_allclose(record.head, [0.3, 0.4])
    assert record.person == "p02"
    assert record.side == "face"
    assert record.frame == ("p02/face/1.jpg" if GAZEHUB_LAYOUTS[layout].name is None else "day01/0005.jpg")


def test_gazehub_reads_one_eye_too_and_takes_the_person_of_a_bare_name_from_the_list(tmp_path):
    label = tmp_path / "p02.label"
    label.write_text(
        "header\n" + hub_line("mpiifacegaze", (0.1, -0.2), (0, 0)).replace("p02/left/1.jpg", "l.jpg")
    )
    shown = picture(tmp_path / "l.jpg", 9)
    (record,) = gazehub(label, tmp_path, "mpiifacegaze", side="left")
    np.testing.assert_array_equal(record.image, shown)
    assert (record.side, record.person) == ("left", "p02")


@pytest.mark.parametrize("layout", ["mpiifacegaze", "eyediap", "gaze360"])
def test_a_list_in_the_other_order_is_refused_by_its_own_vectors(tmp_path, layout):
    label = tmp_path / "p02.label"
    right = hub_line(layout, (0.2, 0.2), (0, 0))
    label.write_text(f"header\n{right}\n{hub_line(layout, (0.1, -0.2), (0, 0), swapped=True)}\n")
    picture(tmp_path / "p02" / "face" / "1.jpg")
    with pytest.raises(
        ValueError, match=r"p02\.label: line 3: expected the gaze's vector and its angles within 1 degree"
    ):
        list(gazehub(label, tmp_path, layout))
    label.write_text(f"header\n{hub_line(layout, (0.1, -0.2), (0.3, 0.4), swapped=True)}\n")
    (record,) = gazehub(label, tmp_path, layout, order="pitch,yaw")
    np.testing.assert_allclose(record.gaze, [0.1, -0.2])


def test_gazehub_refuses_what_is_no_line(tmp_path):
    label = tmp_path / "p02.label"
    line = hub_line("mpiifacegaze", (0.1, -0.2), (0.3, 0.4))

    def refuse(text: str, message: str, kind: type[Exception] = ValueError) -> None:
        label.write_text("header\n" + text)
        with pytest.raises(kind, match=message):
            list(gazehub(label, tmp_path, "mpiifacegaze"))

    refuse(" ".join(line.split()[:8]), r"p02\.label: line 2: expected at least 9 columns, got 8")
    refuse(
        line.replace("-0.2,0.1", "-0.2;0.1"),
        "line 2, column 7: expected 2 numbers with commas, got '-0.2;0.1'",
    )
    refuse(
        line.replace("-0.2,0.1", "nan,0.1"), r"line 2, column 7: expected a finite label, got \[nan, 0.1\]"
    )
    refuse(
        line.replace("-0.2,0.1", "-11.5,5.7"),
        "line 2, column 7: gaze: expected angles within 2 pi in radians",
    )
    wrong = ",".join(["0"] * 3)
    three = line.split()
    refuse(
        " ".join([*three[:5], wrong, *three[6:]]), "line 2: gaze: expected vectors of length at least 1e-6"
    )
    refuse(line, r"1\.jpg: there is no such image, which .*p02\.label, line 2, names", FileNotFoundError)
    with pytest.raises(ValueError, match=r"layout: expected one of mpiifacegaze, eyediap, .*, got 'mpii'"):
        gazehub(label, tmp_path, "mpii")
    with pytest.raises(ValueError, match="side: expected one of face for 'ethxgaze', got 'left'"):
        gazehub(label, tmp_path, "ethxgaze", side="left")
    with pytest.raises(ValueError, match="side: expected one of face, left, right for 'rtgene', got 'both'"):
        gazehub(label, tmp_path, "rtgene", side="both")
    with pytest.raises(ValueError, match="order: expected 'yaw,pitch' or 'pitch,yaw', got 'yaw'"):
        gazehub(label, tmp_path, "rtgene", order="yaw")


def metadata(folder: Path, number: int, **changes: Any) -> np.ndarray:
    """Write Gaze360's metadata of gazes 30 degrees of yaw apart; return their angles (pitch, yaw)."""
    yaw = np.deg2rad(30.0 * np.arange(number) - 100)
    angles = torch.from_numpy(np.stack([np.full(number, 0.1), yaw], 1))
    content = {
        "recordings": np.array(["rec_000", "rec_001"], object),
        "recording": np.arange(number) % 2,
        "person_identity": np.full(number, 3),
        "frame": 10 + np.arange(number),
        "gaze_dir": convert(to_vector(angles), "linsight", "gaze360").numpy(),
        "split": np.arange(number) % 4,
    } | changes
    savemat(folder / "metadata.mat", {name: value for name, value in content.items() if value is not None})
    for row in range(number):
        picture(folder / "imgs" / f"rec_00{row % 2}" / "head" / "000003" / f"{10 + row:06d}.jpg", row)
    return angles.numpy()


def test_gaze360_reads_a_split_in_our_frame(tmp_path):
    angles = metadata(tmp_path, 9)
    records = list(gaze360(tmp_path, "train"))
    assert [record.frame for record in records] == [
        "rec_000/head/000003/000010.jpg",
        "rec_000/head/000003/000014.jpg",
        "rec_000/head/000003/000018.jpg",
    ]
    np.testing.assert_allclose(np.stack([record.gaze for record in records]), angles[[0, 4, 8]], atol=1e-9)
    assert {record.person for record in records} == {"rec_000/000003"}
    (test, *_) = gaze360(tmp_path, "test")
    assert test.person == "rec_000/000003"
    (valid, *_) = gaze360(tmp_path, "val")
    assert valid.person == "rec_001/000003", "an identity is another person in another recording"
    assert np.isnan(test.head).all()
    assert test.label_rule == "camera"


def test_gaze360_has_subsets_by_the_angle_from_the_camera(tmp_path):
    angles = metadata(tmp_path, 12, split=np.zeros(12))
    away = [math.degrees(math.acos(math.cos(0.1) * math.cos(yaw))) for _, yaw in angles]
    counts = {
        subset: len(list(gaze360(tmp_path, "train", subset=subset)))
        for subset in ("all", "front180", "front40")
    }
    assert counts == {"all": 12, "front180": sum(a < 90 for a in away), "front40": sum(a <= 20 for a in away)}
    assert 12 > counts["front180"] > counts["front40"] > 0


def test_gaze360_reads_metadata_of_one_sample(tmp_path):
    """The axes are squeezed, of samples and of recordings."""
    angles = metadata(tmp_path, 1, recordings=np.array(["rec_000"], object))
    (record,) = gaze360(tmp_path, "train")
    np.testing.assert_allclose(record.gaze, angles[0], atol=1e-9)


def test_gaze360_reads_its_lists(tmp_path):
    first = vectors_of(torch.tensor([0.3, 0.2]).double(), "gaze360").tolist()
    shown = picture(tmp_path / "rec_000" / "head" / "000003" / "000010.jpg", 5)
    picture(tmp_path / "a.jpg")
    listed = tmp_path / "test.txt"
    listed.write_text(
        "rec_000/head/000003/000010.jpg " + " ".join(map(str, first)) + "\n" + "a.jpg\t0\t0\t1\n\n"
    )
    one, other = gaze360_list(listed, tmp_path)
    np.testing.assert_allclose(one.gaze, [0.2, 0.3], atol=1e-12)
    np.testing.assert_array_equal(one.image, shown)
    assert (one.person, other.person) == ("rec_000/000003", "test")
    np.testing.assert_allclose(np.abs(other.gaze), [0, math.pi], atol=1e-12)
    assert len(list(gaze360_list(listed, tmp_path, subset="front180"))) == 1


def test_gaze360_refuses_what_is_not_there_and_what_is_no_label(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metadata\.mat: there is no such file"):
        list(gaze360(tmp_path, "train"))

    def refuse(message: str, kind: type[Exception] = ValueError, **changes: Any) -> None:
        metadata(tmp_path, 4, **changes)
        with pytest.raises(kind, match=message):
            list(gaze360(tmp_path, "train"))

    wrong = np.ones((4, 3))
    wrong[0, 1] = np.nan
    refuse(r"metadata\.mat: row 0: expected a finite gaze, got \[1.0, nan, 1.0\]", gaze_dir=wrong)
    refuse("row 0: gaze: expected vectors of length at least 1e-6", gaze_dir=np.zeros((4, 3)))
    refuse(r"expected \(N,\) of each and gaze_dir \(N, 3\), got .*frame \(3,\)", frame=np.arange(3))
    refuse(r"got .*gaze_dir \(4, 2\)", gaze_dir=np.ones((4, 2)))
    refuse("row 0: expected a recording below 2, got 7", recording=np.full(4, 7))
    refuse("expected the variables .*, got no split", split=None)
    refuse(
        "999999.jpg: there is no such image, which .*row 0, names",
        FileNotFoundError,
        frame=np.full(4, 999999),
    )
    with pytest.raises(ValueError, match="split: expected one of train, val, test, unused, got 'valid'"):
        gaze360(tmp_path, "valid")
    with pytest.raises(ValueError, match="subset: expected one of all, front180, front40, got 'front'"):
        gaze360(tmp_path, "test", subset="front")
    listed = tmp_path / "list.txt"
    for text, message in (
        ("a.jpg 0 0\n", "line 1: expected a path and three numbers, got 'a.jpg 0 0'"),
        ("\na.jpg 0 0 up\n", "line 2: expected a path and three numbers, got 'a.jpg 0 0 up'"),
        ("a.jpg 0 0 nan\n", r"line 1: expected a finite gaze, got \[0.0, 0.0, nan\]"),
        ("a.jpg 0 0 0\n", "line 1: gaze: expected vectors of length at least 1e-6"),
    ):
        listed.write_text(text)
        with pytest.raises(ValueError, match=message):
            list(gaze360_list(listed, tmp_path))


def test_records_of_all_readers_are_alike(tmp_path):
    day(tmp_path, "day01", 1)
    metadata(tmp_path, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = [*mpiigaze(tmp_path, evaluation=False), *gaze360(tmp_path, "train")]
    for record in records:
        assert isinstance(record, GazeRecord)
        assert record.image.dtype == np.uint8
        assert record.gaze.shape == record.head.shape == (2,)

"""The contact sheet shows images, labels over them and labels alone, in the classes' colours."""

from pathlib import Path

import numpy as np
from PIL import Image

from src.data import Folder
from src.preparation.contact_sheet import ROWS, contact_sheet


def test_a_sheet_of_large_images(tmp_path: Path) -> None:
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    label = np.zeros((500, 1000), np.uint8)
    label[:, 500:] = 1
    for index in range(12):
        Image.new("RGB", (1000, 500), (index, 0, 99)).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(label).save(tmp_path / "masks" / f"{index}.png")
    palette = [[10, 20, 30], [200, 210, 220]]
    datasets = {split: Folder(str(tmp_path), split, ["a", "b"], palette, values=[0, 1]) for split in ("train", "val")}
    sheet = np.asarray(contact_sheet(datasets, [("val", 1)]))
    assert sheet.shape[1] == 3 * 320 + 4 * 8  # three pictures and the margins
    assert sheet.shape[0] > ROWS * 160
    expected = datasets["val"][1].image[0, 0].tolist()
    first = sheet[28 : 28 + 160]  # below the titles
    assert (first[:, 8:328] == expected).all()
    assert (first[:, 664:824] == palette[0]).all()
    assert (first[:, 824:984] == palette[1]).all()

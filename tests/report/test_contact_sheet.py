"""The demo's contact sheet: each section twice, its salt outlined on the right alone."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salt.errors import StoreError
from salt.report.contact_sheet import GAP, OUTLINE, draw_sheet, main, stitch
from salt.sources.demo import COLUMNS, ROWS, write_survey
from salt.sources.ingest import ingest
from salt.store import TILE_SIZE, TileStore, open_store


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose data/ingest holds a survey of two labelled blocks and a test block."""
    folder = tmp_path_factory.mktemp("sheet")
    survey = folder / "data/ingest/kaggle"
    write_survey(
        survey, folder / "truth", seed=5, blocks=3, test_blocks=1, inlines=1, empty_share=0.3
    )
    ingest(survey, folder / "data/ingest", "native")
    return folder


@pytest.fixture(scope="module")
def store(ingested: Path) -> TileStore:
    return open_store(ingested / "data/ingest")


def test_a_stitched_section_has_every_tile_in_its_place(store: TileStore) -> None:
    volume = int(store.labelled["volume"].iloc[0])
    image, mask = stitch(store, volume)
    assert image.shape == mask.shape == (ROWS * TILE_SIZE, COLUMNS * TILE_SIZE)
    tiles = store.labelled[store.labelled["volume"].eq(volume)]
    for tile in tiles.itertuples():
        down, across = int(tile.sample) * TILE_SIZE, int(tile.crossline) * TILE_SIZE
        cell = np.s_[down : down + TILE_SIZE, across : across + TILE_SIZE]
        assert (image[cell] == store.images[tile.row]).all()
        assert (mask[cell] == store.masks[tile.row]).all()


def test_salt_is_outlined_on_the_right_and_nowhere_else(store: TileStore) -> None:
    sheet = draw_sheet(store)
    outlined = (sheet == OUTLINE).all(axis=2)
    left = COLUMNS * TILE_SIZE
    assert outlined[:, left + GAP :].any()
    assert not outlined[:, : left + GAP].any()


def test_the_command_writes_the_picture_of_the_ingested_survey(
    ingested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ingested)
    monkeypatch.setattr(sys, "argv", ["contact_sheet", "sheet.png"])
    main()
    with Image.open(ingested / "sheet.png") as picture:
        assert picture.width == 2 * COLUMNS * TILE_SIZE + GAP


def test_without_a_demo_survey_it_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["contact_sheet", "sheet.png"])
    with pytest.raises(StoreError, match="dvc repro ingest"):
        main()
    assert not (tmp_path / "sheet.png").exists()

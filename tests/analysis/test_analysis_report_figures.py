"""Pictures come with their numbers, and one that does not say that it shows no face counts as one that does."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from mien.analysis import style
from mien.analysis.report_blocks import Block, EmbeddingMap, Figure, Missing
from mien.analysis.report_figures import pairs, section, shows_faces
from mien.analysis.style import FigureConfig
from mien.errors import DatasetError
from mien.storage.local import LocalStore
from report_pages import jpeg

SMALL = FigureConfig(title="t", size_in=(2, 1), dpi=40)


def blocks(store: LocalStore) -> list[Block]:
    """Without the line that says where they are."""
    return [*section(store, "Figures", "data/1").blocks[1:]]


def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    found = LocalStore(tmp_path)
    style.save(found, "below/candles_dataset", SMALL.canvas(), {"num_frames": 25, "mean": 0.123456, "step": [1, 2]})
    return found


def test_a_figure_has_its_numbers_in_words_and_in_tables(store: LocalStore) -> None:
    (figure,) = blocks(store)
    assert isinstance(figure, Figure)
    assert figure.title == "below/candles dataset"
    assert figure.alt == "Figure: below/candles dataset. frames 25; mean 0.1235. Its numbers stand below."
    assert figure.numbers[0].rows == (("frames", 25), ("mean", 0.123456))
    assert figure.numbers[1].rows == ((1,), (2,))
    assert (figure.raw, figure.shows_faces) == ("data/1/below/candles_dataset.json", False)
    assert section(store, "Figures", "data/1").raw[figure.raw]["mean"] == 0.123456
    assert figure.png == store.read("below/candles_dataset.png")


def test_a_picture_of_somebody_else_counts_as_one_with_a_face(store: LocalStore) -> None:
    store.replace("sheet.png", photo())
    store.replace("sheet.json", b"{}")
    assert [block.shows_faces for block in blocks(store) if isinstance(block, Figure)] == [False, True]
    assert shows_faces(photo())
    assert not shows_faces(style.png(SMALL.canvas()))
    for data in (b"", jpeg(3), photo()[:20]):
        with pytest.raises(DatasetError, match="no readable PNG"):
            shows_faces(data)


def test_pictures_without_numbers_are_not_shown(store: LocalStore) -> None:
    store.replace("alone.png", photo())
    store.replace("numbers.json", b"{}")
    assert pairs([entry.name for entry in store.list()]) == ["below/candles_dataset"]


@pytest.mark.parametrize(("name", "data"), [("a.png", b"no picture"), ("a.json", b"[")])
def test_a_damaged_one_is_said_and_the_others_are_shown(store: LocalStore, name: str, data: bytes) -> None:
    style.save(store, "a", SMALL.canvas(), {"n": 1})
    store.replace(name, data)
    damaged, whole = blocks(store)
    assert isinstance(damaged, Missing)
    assert isinstance(whole, Figure)


def test_of_very_many_figures_an_even_choice_is_shown_and_it_is_said(store: LocalStore) -> None:
    for number in range(100):
        store.replace(f"f{number:03}.png", photo())
        store.replace(f"f{number:03}.json", b"{}")
    found = blocks(store)
    assert len(found) == 41
    assert found[-1] == Missing("Further figures", "40 of 101 are shown, evenly chosen")
    assert found[-2].title == "f099"


def test_the_plane_of_embeddings_is_a_map(store: LocalStore) -> None:
    document = {"before": [[0, 1], [2, 3]], "after": None, "text": [[4.5, 5]], "rows": [7, 9]}
    style.save(store, "tsne", SMALL.canvas(), document)
    found = [block for block in blocks(store) if isinstance(block, EmbeddingMap)]
    assert [(point.x, point.y, point.group) for point in found[0].points] == [
        (0, 1, "visual, before"),
        (2, 3, "visual, before"),
        (4.5, 5, "text"),
    ]
    assert found[0].raw == "data/1/tsne.json"


def test_words_of_json_are_not_in_the_way(store: LocalStore) -> None:
    store.replace("tsne.png", photo())
    store.replace("tsne.json", json.dumps({"before": "x", "text": 3}).encode())
    assert any(isinstance(block, Missing) for block in blocks(store))

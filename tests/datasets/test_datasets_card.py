import re

import pytest
import yaml

from hostile_names import FILE_NAMES
from mien.datasets.card import CardConfig, write_card
from mien.datasets.dataset import Dataset
from mien.log import printable
from mien.storage.local import LocalStore
from sample_datasets import PROVENANCE


def test_the_header_is_yaml_and_the_counts_are_those_of_the_index(finished: Dataset, store: LocalStore) -> None:
    text = store.read("README.md").decode()
    header = yaml.safe_load(text.split("---")[1])
    assert header["pretty_name"] == "Test faces"
    assert header["size_categories"] == ["n<1K"]
    assert "3 clips with 3 face tracks from 4 videos: 18 frames" in text
    assert "| FaceError | 1 |" in text
    assert "| `landmarks` | float32 [478, 3] | px |" in text


def test_consent_and_licence_stand_as_given(finished: Dataset) -> None:
    card = CardConfig(licence="cc-by-4.0", consent="signed, § 7", redistributable=True)
    text = write_card(finished, card, PROVENANCE)
    assert "Licence of the sources: cc-by-4.0" in text
    assert "Consent: signed, § 7" in text
    assert "license: cc-by-4.0" in text


@pytest.mark.parametrize("name", FILE_NAMES)
def test_the_name_of_a_source_is_neither_markup_nor_control(finished: Dataset, name: str) -> None:
    text = write_card(finished, CardConfig(), {**PROVENANCE, "source": f"/videos/{name}/x"})
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    (line,) = [line for line in text.splitlines() if line.startswith("- Source: ")]
    fence, inside = re.fullmatch(r"- Source: (`+)(.+)\1", line).groups()  # type: ignore[union-attr]
    assert inside.strip() == f"/videos/{printable(name)}/x"
    assert fence not in re.findall("`+", inside), "the name cannot end the code it stands in (CommonMark, 6.1)"


def test_random_weights_are_said_aloud(finished: Dataset) -> None:
    provenance = {**PROVENANCE, "models": {"feature": {"kind": "dinov2", "weights": "random"}}}
    assert "random weights. They mean nothing" in write_card(finished, CardConfig(), provenance)
    assert "random weights" not in write_card(finished, CardConfig(), PROVENANCE)

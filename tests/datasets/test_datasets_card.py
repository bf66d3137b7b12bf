import re

import pytest
import yaml

from hostile_names import FILE_NAMES
from mien.datasets.card import CardConfig, _people, write_card
from mien.datasets.dataset import Dataset
from mien.datasets.effort import Effort
from mien.datasets.parquet import ParquetConfig
from mien.log import printable
from mien.storage.local import LocalStore
from people import make_people
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
    text = write_card(finished, card, PROVENANCE, Effort())
    assert "Licence of the sources: cc-by-4.0" in text
    assert "Consent: signed, § 7" in text
    assert "license: cc-by-4.0" in text


@pytest.mark.parametrize("name", FILE_NAMES)
def test_the_name_of_a_source_is_neither_markup_nor_control(finished: Dataset, name: str) -> None:
    text = write_card(finished, CardConfig(), {**PROVENANCE, "source": f"/videos/{name}/x"}, Effort())
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    (line,) = [line for line in text.splitlines() if line.startswith("- Source: ")]
    fence, inside = re.fullmatch(r"- Source: (`+)(.+)\1", line).groups()  # type: ignore[union-attr]
    assert inside.strip() == f"/videos/{printable(name)}/x"
    assert fence not in re.findall("`+", inside), "the name cannot end the code it stands in (CommonMark, 6.1)"


def test_who_is_in_it_and_what_is_known_of_them(store: LocalStore, finished: Dataset) -> None:
    assert "| subject | 3 different |" in store.read("README.md").decode()
    people = make_people(LocalStore(store.root.parent / "people"), ParquetConfig())
    text = write_card(people, CardConfig(), PROVENANCE, Effort())
    assert "| subject | 3 different |" in text
    assert "| `age` | `42`: 2, `56`: 2, `49`: 2 |" in text
    assert "| keyword | `smile`: 6 |" in text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({f"{n}": 1 for n in range(20, 80)}, "60 different, 20 to 79"),
        ({f"take {n}": 1 for n in range(13)}, "13 different"),
        ({**{f"{n}": 1 for n in range(1000)}, "others": 3}, "more than 1000 different"),
        ({"a|b\n`c": 2}, "`` a¦b `c ``: 2"),
    ],
)
def test_values_of_a_label_are_told_in_short(values: dict[str, int], said: str) -> None:
    summary = {"subjects": {}, "labels": {"x": values}, "keywords": {}}
    assert _people(summary).splitlines()[-1] == f"| `x` | {said} |"


def test_where_nothing_is_known_the_card_says_so() -> None:
    assert _people({"subjects": {}, "labels": {}, "keywords": {}}) == "No subject, label or keyword is known."


def test_random_weights_are_said_aloud(finished: Dataset) -> None:
    provenance = {**PROVENANCE, "models": {"feature": {"kind": "dinov2", "weights": "random"}}}
    assert "random weights. They mean nothing" in write_card(finished, CardConfig(), provenance, Effort())
    assert "random weights" not in write_card(finished, CardConfig(), PROVENANCE, Effort())


def timed(run_id: str, started_at: float, finished_at: float, gpu_s: float = 0.0) -> dict[str, object]:
    effort = {"busy": {"cut": [7200, 3600, 0], "features": [60, 30, gpu_s]}, "hosts": ["a"]}
    times = {"run_id": run_id, "started_at": started_at, "finished_at": finished_at, "effort": effort}
    return {"files": [{"name": "data/a", "size_bytes": 2_000_000}], **times}


def test_what_it_took_is_the_sum_over_all_runs_without_the_gap(finished: Dataset) -> None:
    effort = Effort.of([timed("first", 0, 4), timed("second", 90_000, 90_002, gpu_s=15)])
    text = write_card(finished, CardConfig(), PROVENANCE, effort)
    assert "6 s from start to last commit in 2 runs (without the time between them) on 1 machine" in text
    assert "1970-01-01 to 1970-01-02: 3 frames/s. 4 MB in 2 shards." in text
    assert "| cut | 4.0 h | 2.0 h | – |" in text
    assert "| features | 2 min | 60 s | 15 s |" in text
    assert "| all | 4.0 h | 2.0 h | 15 s |" in text
    assert "without a record of their time" not in text


def test_shards_of_a_version_that_kept_no_times_are_told(finished: Dataset, store: LocalStore) -> None:
    assert "3 of 3 shards were committed without a record of their time." in store.read("README.md").decode()
    effort = Effort.of([timed("first", 0, 4), {"files": []}])
    text = write_card(finished, CardConfig(), PROVENANCE, effort)
    assert "1 of 2 shards were committed without a record of their time." in text
    assert "4 s from start to last commit in 1 run on 1 machine, 1970-01-01:" in text

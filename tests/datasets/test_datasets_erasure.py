import json
import logging
import re

import pytest

from mien.datasets import audit
from mien.datasets.dataset import Dataset
from mien.datasets.erasure import Extent, begin, standing, survey
from mien.datasets.formats import FormatConfig
from mien.datasets.parquet import ParquetConfig
from mien.errors import ConfigError, DatasetError
from mien.storage.local import LocalStore
from people import ADAEZE, BERTILLE, make_people


def test_the_extent_counts_what_is_of_the_subject(store: LocalStore, kind: FormatConfig) -> None:
    make_people(store, kind)
    before = {entry.name: store.read(entry.name) for entry in store.list()}
    sizes = {name: len(content) for name, content in before.items() if name.startswith("data/")}
    extent = survey(store, BERTILLE)
    assert extent == Extent(
        num_clips=4,
        num_samples=2,
        num_frames=8,
        num_failures=2,
        num_files=2,
        num_bytes=sizes[f"data/mixed{kind.suffix}"] + sizes[f"data/alone{kind.suffix}"],
        num_files_rewritten=1,
    )
    assert {entry.name: store.read(entry.name) for entry in store.list()} == before


def test_an_unknown_subject_is_named_with_those_that_are_close(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    with pytest.raises(ConfigError, match=r"no clip has the subject 'Bertile'; close to it: Bertille; see"):
        survey(store, "Bertile")
    with pytest.raises(ConfigError, match=r"no clip has the subject 'Zoe'; see"):
        survey(store, "Zoe")
    with pytest.raises(ConfigError, match="subject: is empty"):
        survey(store, "")


def test_after_an_erasure_nothing_left_is_no_mistake(store: LocalStore, caplog: pytest.LogCaptureFixture) -> None:
    make_people(store, ParquetConfig())
    audit.append(store, "audit/a.json", {})
    with caplog.at_level(logging.INFO, "mien"):
        assert survey(store, "Bertile") == Extent()
    assert "close to it: Bertille" in caplog.text


def test_an_unfinished_dataset_is_refused_with_the_remedy(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    store.delete("mien.json")
    with pytest.raises(DatasetError, match=r"unfinished.*run the same serialize command"):
        survey(store, ADAEZE)


def test_a_standing_journal_is_taken_up_and_keeps_another_subject_out(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    first = begin(store, ADAEZE, "moved away", survey(store, ADAEZE))
    assert begin(store, ADAEZE, "another reason", Extent()) == first
    assert standing(store, ADAEZE) == first
    assert survey(store, ADAEZE) == first.removed
    with pytest.raises(DatasetError, match="the erasure of another subject was interrupted") as error:
        begin(store, BERTILLE, "", Extent())
    assert ADAEZE not in str(error.value)
    assert re.fullmatch(r"audit/\d{8}T\d{6}Z-[0-9a-f]{12}\.json", first.audit_name)


@pytest.mark.parametrize("content", [b"", b"[]", json.dumps({"id": "x"}).encode()])
def test_a_damaged_journal_is_named(store: LocalStore, content: bytes) -> None:
    make_people(store, ParquetConfig())
    store.put_new("erasure.json", content)
    with pytest.raises(DatasetError, match=r"erasure\.json: is damaged"):
        survey(store, ADAEZE)
    assert Dataset(store).record, "readers do not care"

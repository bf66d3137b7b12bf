"""One page of everything that there is, and honest words for what there is not."""

import json
import re
import shutil
from pathlib import Path

import pytest

from mien.analysis import style
from mien.analysis.analyze_report import ReportConfig, kind_of, labelled, run
from mien.analysis.style import FigureConfig
from mien.analysis.trials import TABLE, Trial, table
from mien.datasets.tables import parquet_bytes
from mien.errors import ConfigError, RefusedError
from mien.models import checkpoint
from mien.storage.local import LocalStore
from training_runs import job_of, make_tokens, train

FEW = {"num_clips": 1, "max_frames": 4, "num_points": 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, two runs on it, a sweep, and figures."""
    place = tmp_path_factory.mktemp("sources")
    make_tokens(place / "dataset").close()
    for name, seed in (("run_a", 0), ("run_b", 1)):
        train(job_of(place / "dataset", place / name, {"num_steps": 3, "seed": seed}))
    sweep = [Trial(0, "done", {"rate": 0.1}, ((1, {"error": 0.5}),))]
    LocalStore(place / "sweep").replace(TABLE, parquet_bytes(table(sweep)))
    config = FigureConfig(title="t", size_in=(2, 1), dpi=40)
    style.save(LocalStore(place / "figures"), "candles", config.canvas(), {"num_frames": 12345})
    return place


def config(place: Path, output: Path, *names: str, **others: object) -> ReportConfig:
    values = {"sources": [str(place / name) for name in names], "output": str(output), "clips": FEW}
    return ReportConfig.parse(values | others, "test")


def test_every_kind_of_source_has_its_section(place: Path, tmp_path: Path) -> None:
    names = ("run_a", "run_b", "sweep", "figures", "dataset")
    report = run(config(place, tmp_path / "out", *names, title="All <of> it"))
    assert report.document["sources"] == {
        "run_a": "run",
        "run_b": "run",
        "sweep": "sweep",
        "figures": "figures",
        "dataset": "dataset",
    }
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for said in ("All &lt;of&gt; it", "Run run_a", "Run run_b", "Sweep sweep", "Dataset dataset", "12,345"):
        assert said in page
    assert page.count("<h2") == len(
        ["Overview", "Training", *["Run", "Evaluation", "Frames"] * 2, "Sweep", "Figures", "Dataset"]
    )
    assert "data:image/jpeg" not in page, "no face was asked for"
    assert report.see == f"{tmp_path / 'out'}/report.html"


def test_the_numbers_lie_beside_the_page_where_it_links_them(place: Path, tmp_path: Path) -> None:
    run(config(place, tmp_path / "out", "run_a", "sweep"))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    links = {*re.findall(r'href="\./([^"]+)"', page)}
    assert links
    for link in links:
        json.loads((tmp_path / "out" / link).read_text(encoding="utf-8"))


def test_faces_are_there_when_they_are_asked_for(place: Path, tmp_path: Path) -> None:
    run(config(place, tmp_path / "out", "dataset", include_faces=True))
    assert "data:image/jpeg" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_what_is_not_there_is_told_and_the_rest_is_shown(place: Path, tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("seed: 1\n")
    report = run(config(tmp_path, tmp_path / "out", "begun"))
    missing = " ".join(report.document["not_available"])
    for said in ("The log of begun", "Checkpoint", "Evaluation", "Frames by begun"):
        assert said in missing
    assert "seed: 1" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "not available: The log of begun" in report.text


def test_a_dataset_that_is_gone_costs_its_section_alone(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run_a", tmp_path / "run")
    store = LocalStore(tmp_path / "run")
    name = checkpoint.names(store)[-1]
    record = json.loads(store.read(f"checkpoints/{name}.json"))
    facts = {"dataset": str(tmp_path / "gone"), "objective": {"kind": "joint"}}
    store.replace(f"checkpoints/{name}.json", json.dumps(record | facts).encode())
    report = run(config(tmp_path, tmp_path / "out", "run"))
    assert any("gone" in one for one in report.document["not_available"])
    assert "Losses" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_an_output_of_another_report_is_refused(place: Path, tmp_path: Path) -> None:
    run(config(place, tmp_path / "out", "sweep"))
    run(config(place, tmp_path / "out", "sweep"))
    with pytest.raises(RefusedError, match="title"):
        run(config(place, tmp_path / "out", "sweep", title="Another"))
    run(config(place, tmp_path / "out", "sweep", title="Another"), fresh=True)
    assert "Another" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sources": []}, "sources: is empty"),
        ({"output": ""}, "output: is required"),
        ({"sources": ["/nowhere/at/all"]}, "is empty or absent"),
        ({"sources": ["/a/b", "/a/b"]}, "/a/b is named twice"),
    ],
)
def test_what_no_page_can_be_made_of_is_refused(changes: dict[str, object], what: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=what):
        run(ReportConfig.parse({"sources": ["/x"], "output": str(tmp_path / "out"), **changes}, "test"))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ConfigError, match="holds nothing that a report can show"):
        kind_of(LocalStore(tmp_path))


def test_labels_are_short_where_that_is_enough() -> None:
    assert labelled(["/a/run/", "gs://b/other"]) == {"run": "/a/run/", "other": "gs://b/other"}
    assert labelled(["/a/run", "/b/run"]) == {"/a/run": "/a/run", "/b/run": "/b/run"}

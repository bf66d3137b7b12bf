"""From files to figures, numbers and words: a bridge that helps is told from none, and from one that was swapped."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedding_scenes import bridge_of_texts, embeddings, write_bridge, write_sets
from mien.analysis.embedding_analysis import Analysis, EmbeddingAnalysisConfig, analyze
from mien.config import COMMAND_LINE
from mien.errors import ConfigError
from mien.storage.local import LocalStore

ROWS, TEXT, ANSWER = embeddings()
SMALL: dict[str, Any] = {
    "tsne": {"samples": 40, "perplexity": 10, "max_iter": 250, "dpi": 40},
    "alignment": {"num_directions": 8, "bootstrap": {"num": 200}},
    **{name: {"dpi": 40} for name in ("distribution", "effect", "class_figure")},
}
SYSTEM_FIGURES = ["distribution_metrics.png", "diffusion_effect.png", "class_changes.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embeddings")


@pytest.fixture(scope="module")
def run(folder: Path) -> str:
    return write_bridge(folder / "run", bridge_of_texts())


def analysis(folder: Path, output: Path, **config: Any) -> Analysis:
    given = {**write_sets(folder), **SMALL, **config}
    return analyze(EmbeddingAnalysisConfig.parse(given, "test"), LocalStore(output))


@pytest.fixture(scope="module")
def bridged(folder: Path, run: str) -> tuple[Analysis, LocalStore]:
    sweep = {"start_steps": [100, 600], "num_rows": 40, "dpi": 40}
    found = analysis(folder, folder / "out", bridges=[run, run], uncertain_share=0.5, sweep=sweep)
    return found, LocalStore(folder / "out")


def test_every_file_is_there_with_the_numbers_behind_it(bridged: tuple[Analysis, LocalStore]) -> None:
    found, store = bridged
    names = [*SYSTEM_FIGURES, "tsne_comparison.png", "sweep.png", "summary_report.txt", "README.md", "metrics.json"]
    names += [f"{name}/distribution_metrics.png" for name in ("bridge_2", "mean_shift")]
    assert {*names} <= {*found.files}
    assert {*found.files} <= {entry.name for entry in store.list()}
    for name in found.files:
        if name.endswith(".png"):
            json.loads(store.read(name.replace(".png", ".json")))
            with Image.open(store.fetch(name)) as picture:
                assert min(picture.size) > 100
    assert "mean_shift/tsne_comparison.png" not in found.files


def test_the_bridge_leads_rows_to_their_texts(bridged: tuple[Analysis, LocalStore]) -> None:
    found, store = bridged
    assert [one.name for one in found.systems] == [
        "before", "bridge 1", "bridge 2", "bridge 1, uncertain rows alone", "mean shift"
    ]  # fmt: skip
    document = json.loads(store.read("metrics.json"))
    assert [one["name"] for one in document["systems"]] == [one.name for one in found.systems]
    first, bridge, same, partly, _ = found.systems
    assert bridge.measures == same.measures
    assert bridge.minus_before is not None
    assert bridge.minus_before.similarity.low > 0.1
    assert first.measures.similarity.value < partly.measures.similarity.value < bridge.measures.similarity.value
    led = partly.rows.similarity != pytest.approx(first.rows.similarity)
    assert led
    unmoved = np.isclose(partly.rows.similarity, first.rows.similarity)
    assert unmoved.mean() == pytest.approx(0.5, abs=0.02)
    assert first.rows.margin[unmoved].min() > np.median(first.rows.margin) - 1e-9
    assert document["config"]["uncertain_share"] == 0.5
    assert document["bridges"]["bridge 1"]["step"] == 300
    assert len(document["sweep"]) == 2


def test_what_moving_the_mean_does_is_taken_off(bridged: tuple[Analysis, LocalStore]) -> None:
    found, store = bridged
    assert {*found.beyond_shift} == {one.name for one in found.systems[1:-1]}
    bridge, shift = (found.systems[number].rows.similarity for number in (1, -1))
    assert found.beyond_shift["bridge 1"].value == pytest.approx((bridge - shift).mean())
    assert f"Beyond the mean shift: {found.beyond_shift['bridge 1']}" in store.read("README.md").decode()


def test_the_report_says_what_the_first_tool_said_with_intervals(bridged: tuple[Analysis, LocalStore]) -> None:
    found, store = bridged
    text = store.read("summary_report.txt").decode()
    titles = ["EMBEDDING DISTRIBUTION ANALYSIS REPORT", "Configuration", "Data Summary", "Metrics: Cosine Similarity",
              "Metrics: Feature Norms", "Metrics: Distribution Distances", "Conclusions"]  # fmt: skip
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    assert "=" * 60 in text.splitlines()
    assert "-" * 60 in text.splitlines()
    before, after = found.systems[:2]
    assert f"Before: {before.measures.similarity} +/- {before.spread.similarity_std:.4f}" in text
    assert after.percent is not None
    assert f"Improvement (%): {after.percent.value:+.2f}" in text
    assert "Diffusion bridge IMPROVES visual->text alignment" in text
    assert f"Verdict: {found.judgements['bridge 1'].verdict.upper()}" in text
    assert "visual: [150, 32]" in text


def test_the_index_has_every_system_and_class_and_names_are_text(bridged: tuple[Analysis, LocalStore]) -> None:
    found, store = bridged
    index = store.read("README.md").decode()
    for one in found.systems:
        assert f"| {one.name} |" in index
        assert str(one.measures.similarity) in index
    assert all(f"]({name})" in index for name in found.files)
    assert "<img" not in index
    assert "action &lt;img src=0&gt;" in index
    assert index.count("| 600 | 5 | 5 |") == 1


def test_without_a_bridge_both_sets_are_shown_and_that_is_said(folder: Path, tmp_path: Path) -> None:
    found = analysis(folder, tmp_path)
    assert {"tsne_comparison.png", "distribution_metrics.png"} <= {*found.files}
    assert "diffusion_effect.png" not in found.files
    assert json.loads((tmp_path / "distribution_metrics.json").read_text())["after"] is None
    assert "Diffusion was not applied" in (tmp_path / "summary_report.txt").read_text()


def test_a_missing_bridge_is_noted_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    analysis(folder, tmp_path, bridges=[str(folder / "nowhere")], tsne="skip")
    assert "is left out" in (tmp_path / "README.md").read_text()
    assert "not applied" in (tmp_path / "summary_report.txt").read_text()
    assert not (tmp_path / "tsne_comparison.png").exists()


def test_rows_that_were_led_away_decrease(folder: Path, tmp_path: Path) -> None:
    names = np.load(write_sets(folder)["visual"])["names"]
    np.savez(tmp_path / "after.npz", embeddings=ROWS - 3 * TEXT[ANSWER], names=names)
    found = analysis(folder, tmp_path, after=str(tmp_path / "after.npz"), tsne="skip", mean_shift=False)
    assert found.judgements["after"].verdict == "poor"
    text = (tmp_path / "summary_report.txt").read_text()
    assert "Diffusion bridge DECREASES visual->text alignment" in text
    np.savez(tmp_path / "after.npz", embeddings=ROWS, names=names)
    found = analysis(folder, tmp_path, after=str(tmp_path / "after.npz"), tsne="skip", mean_shift=False)
    assert found.judgements["after"].verdict == "not distinguishable"
    assert "NOT DISTINGUISHABLE from none" in (tmp_path / "summary_report.txt").read_text()
    assert found.summary()["after"].startswith("not distinguishable: similarity +0.0 %")


def test_without_labels_classes_are_not_available(folder: Path, tmp_path: Path) -> None:
    files = write_sets(folder, labels=np.array(["?"] * len(ROWS)))
    found = analyze(EmbeddingAnalysisConfig.parse({**files, **SMALL, "tsne": "skip"}, "test"), LocalStore(tmp_path))
    assert "Not available: no row has a label" in (tmp_path / "README.md").read_text()
    assert "mean_shift/class_changes.png" not in found.files


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tsne": {"perplexity": 200}}, r"tsne\.perplexity=200: needs more points than that, there are"),
        ({"tsne": "later"}, "tsne: .*'later' is neither skip nor options"),
        ({"tsne": {"perplexity": -1}}, r"^test: tsne\.perplexity: [^\n]*$"),
        ({"classes": {"unseen": ["walking"]}}, "'walking' is no text"),
    ],
)
def test_options_that_do_not_fit_are_told(folder: Path, tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        analysis(folder, tmp_path, **config)
    assert not (tmp_path / "metrics.json").exists()


def test_no_way_of_a_sweep_fits(folder: Path, run: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sweep: no start step is between"):
        analysis(folder, tmp_path, bridges=[run], tsne="skip", sweep={"start_steps": [2]})


def test_the_options_of_the_first_tool() -> None:
    for given in (["tsne=skip"], ["tsne.samples=5000", "tsne.perplexity=50"], ["batch=64"], ["num_rows=100"]):
        config = EmbeddingAnalysisConfig.load(None, given)
        assert EmbeddingAnalysisConfig.parse(config.dump(), COMMAND_LINE) == config
    assert config.num_rows == 100
    assert EmbeddingAnalysisConfig.load(None, ["tsne.samples=5000"]).tsne.perplexity == 30
    assert EmbeddingAnalysisConfig.load(None, ["tsne=skip"]).tsne.is_skipped

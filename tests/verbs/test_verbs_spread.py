"""Analyses over Ray and in one process: the same files to the last byte, the same errors; what is done is not sent."""

import importlib
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from buckets import BUCKET
from command_line import assert_refused
from evaluated_runs import PREDICTION, make_backbone, make_run, save
from feature_pairs import denoiser
from mien.config import COMMAND_LINE
from mien.pipelines.spread import SpreadConfig
from mien.storage.emulator import Emulator
from mien.storage.uri import open_store
from mien.verbs.spread import EmbeddingsRunConfig, ExpressionsRunConfig, FeaturesRunConfig, _own
from mien.verbs.spread import run as spread
from said_datasets import make_said
from tiny_clip import SIZE_PX, write_clip
from training_runs import make_tokens

RAY = {"compute": "ray", "workers": {"analyze": {"num_cpus": 0.5, "max_workers": 2}}, "cluster": {"address": "local"}}
SMALL_FIGURE = {"size_in": [4, 3], "dpi": 40}
ANALYSES: dict[str, Any] = {
    "embeddings": {
        "tsne": "skip",
        "alignment": {"num_directions": 4, "bootstrap": {"num": 100}},
        **{name: {"dpi": 40} for name in ("distribution", "effect", "class_figure")},
    },
    "expressions": dict.fromkeys(("candlestick", "movement", "target_prediction", "difference_map"), SMALL_FIGURE),
    "features": {"num_samples": 2, "timesteps": [300], "layers": ["in_conv", "bottleneck"]},
}
CLASSES = {"embeddings": EmbeddingsRunConfig, "expressions": ExpressionsRunConfig, "features": FeaturesRunConfig}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As a worker of one CPU has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each kind of analysis reads."""
    folder = tmp_path_factory.mktemp("inputs")
    make_said(folder / "said").close()
    make_tokens(folder / "tokens").close()
    make_run(folder / "run", folder / "tokens", make_backbone(folder / "backbone"), PREDICTION)
    for seed, name in ((1, "base"), (2, "other")):
        save(folder / name, denoiser(seed), {"objective": denoiser(seed).config.dump()}, 1)
    clip = {"features": {"model": str(write_clip(folder / "clip")), "size_px": SIZE_PX, "dtype": "float32"}}
    source = {"kind": "checkpoint", "checkpoint": str(folder / "run"), "num_clips": 4}
    crops = {"kind": "crops", "dataset": str(folder / "tokens")}
    return {
        "embeddings": {"dataset": str(folder / "said"), "clips": clip},
        "expressions": {"source": source},
        "features": {"baseline": str(folder / "base"), "curriculum": str(folder / "other"), "data": crops},
    }


def config(kind: str, inputs: dict[str, Any], output: object, **more: Any) -> SpreadConfig:
    return CLASSES[kind].parse({**inputs[kind], **ANALYSES[kind], "output": str(output), **more}, "test")


def contents(place: str) -> dict[str, bytes]:
    """All files; the place itself stands in some of them."""
    store = open_store(place)
    return {entry.name: store.read(entry.name).replace(place.encode(), b"OUTPUT") for entry in store.list()}


def _analysis(kind: str) -> Any:
    return importlib.import_module(f"mien.analysis.analyze_{kind}")


class Counting:
    """Computes in this process and keeps what it was asked for."""

    def __init__(self, kind: str) -> None:
        self._kind, self.sent = kind, list[str]()

    def __call__(self, make: Any, arguments: Any, tasks: Any) -> Iterator[Any]:
        return iter(_analysis(self._kind).here(make, arguments, self._seen(tasks)))

    def _seen(self, tasks: Any) -> Iterator[Any]:
        for task in tasks:
            self.sent.append(str(task))
            yield task


class Elsewhere(Counting):
    """As workers of other machines, which do not see the disk of the driver."""

    def __init__(self, kind: str, hidden: list[Path]) -> None:
        super().__init__(kind)
        self._hidden = hidden

    def __call__(self, make: Any, arguments: Any, tasks: Any) -> Iterator[Any]:
        sent = pickle.loads(pickle.dumps([*arguments]))
        for place in self._hidden:
            place.rename(place.with_suffix(".gone"))
        try:
            yield from super().__call__(make, sent, tasks)
        finally:
            for place in self._hidden:
                place.with_suffix(".gone").rename(place)


Made = dict[str, tuple[Path, int]]


@pytest.fixture(scope="module")
def made(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What each analysis leaves that was computed in this process, and the number of tasks that it was."""
    folder = Path(inputs["expressions"]["source"]["checkpoint"]).parent
    hidden = {"embeddings": ["clip"], "expressions": ["run", "backbone"], "features": ["base", "other"]}
    found = Made()
    for kind in CLASSES:
        output = tmp_path_factory.mktemp(kind)  # without what Markdown would escape
        compute = Elsewhere(kind, [folder / name for name in hidden[kind]])
        assert _analysis(kind).run(_own(config(kind, inputs, output)), compute=compute).document
        found[kind] = output, len(compute.sent)
    return found


@pytest.mark.parametrize("kind", CLASSES)
def test_files_are_the_same_whoever_computes(
    kind: str, local_ray: None, emulator: Emulator, inputs: dict[str, Any], made: Made
) -> None:
    places = f"gs://{BUCKET}/{kind}", str(made[kind][0])
    spread(kind, config(kind, inputs, places[0], **RAY))
    ours, theirs = map(contents, places)
    assert [*ours] == [*theirs]
    differing = [name for name in ours if ours[name] != theirs[name]]
    assert differing == []
    assert any(name.endswith(".png") for name in ours)


@pytest.mark.parametrize(("kind", "num", "num_again"), [("embeddings", 12, 0), ("features", 4, 2)])
def test_what_is_done_is_not_sent_again(
    kind: str, num: int, num_again: int, inputs: dict[str, Any], made: Made
) -> None:
    output, num_sent = made[kind]
    assert num_sent == num
    before = contents(str(output))
    (output / "analysis.json").unlink()
    shutil.rmtree(output / "sample_1", ignore_errors=True)
    (output / "activations/sample_1.parquet").unlink(missing_ok=True)
    compute = Counting(kind)
    _analysis(kind).run(_own(config(kind, inputs, output)), compute=compute)
    assert len(compute.sent) == num_again
    assert contents(str(output)) == before


def test_who_computes_is_no_part_of_an_output(local_ray: None, inputs: dict[str, Any], made: Made) -> None:
    output, _ = made["features"]
    assert "workers" not in (output / "config.yaml").read_text()
    before = contents(str(output))
    spread("features", config("features", inputs, output, **RAY))
    assert contents(str(output)) == before
    again = config("features", inputs, output, **RAY)
    assert _own(again) == _own(FeaturesRunConfig.parse(again.dump(), COMMAND_LINE))


def test_an_error_of_a_worker_is_one_line_that_names_the_clip(
    run: Any, local_ray: None, inputs: dict[str, Any], tmp_path: Path
) -> None:
    from mien.datasets.dataset import open_dataset

    dataset = open_dataset(inputs["features"]["data"]["dataset"])
    damaged = tmp_path / "tokens"
    shutil.copytree(dataset.uri, damaged)
    sample = dataset.sample(2)
    shard = damaged / sample.row["file"]
    shard.write_bytes(shard.read_bytes()[:1000])
    source = ("source.kind=checkpoint", f"source.checkpoint={inputs['expressions']['source']['checkpoint']}")
    words = (*source, f"source.dataset={damaged}", f"source.clips=[{sample.clip_id}]", f"output={tmp_path}/out")
    ray = ("compute=ray", "workers.analyze.num_cpus=0.5", "cluster.address=local")
    ended = [run("analyze", "expressions", *words, *more) for more in (ray, ("compute=here",))]
    assert ended[0].complaints == ended[1].complaints
    assert_refused(ended[0], 1, f"clip {sample.clip_id}")
    assert not (tmp_path / "out").exists()
    assert_refused(run("analyze", "expressions", *words, "compute=there"), 2, "compute", "'here'")

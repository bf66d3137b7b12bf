"""`mien analyze capture` and `embeddings` as a person types them, from a network to a verdict."""

import json
from pathlib import Path
from typing import Any

from buckets import BUCKET
from command_line import assert_refused
from embedding_scenes import write_sets
from mien.storage.emulator import Emulator
from pickle_bomb import bare

NETWORK = (
    *("network=embedding_networks:recogniser", "items=embedding_networks:items"),
    *("hooks.visual=visual", "hooks.text=text_adapter", "text_names=[class 0,class 1,class 2,class 3]"),
    "item_arguments.nums=[2,1,3,0,2]",
)
SMALL = ("tsne=skip", "alignment.num_directions=4", "alignment.bootstrap.num=100", "distribution.dpi=40")


def test_from_a_network_to_a_verdict(run: Any, tmp_path: Path) -> None:
    capture = ("analyze", "capture", *NETWORK, f"output={tmp_path}/captured")
    checked = run(*capture, "--check")
    assert checked.out.splitlines()[-1] == "ALL CHECKS PASSED"
    assert not (tmp_path / "captured").exists()
    ended = run(*capture, "--json")
    assert json.loads(ended.out)["num_rows"] == 8 + 4
    file = f"{tmp_path}/captured/embeddings.parquet"
    assert f"next     mien analyze embeddings embeddings={file} output=FIGURES" in ended.err
    analyse = ("analyze", "embeddings", f"embeddings={file}", f"output={tmp_path}/out", *SMALL)
    done = [one["is_done"] for one in json.loads(run(*analyse, "--status", "--json").out)]
    assert done == [True, True, False, False]
    ended = run(*analyse)
    assert ended.code == 0, ended.err
    assert "EMBEDDING DISTRIBUTION ANALYSIS REPORT" in ended.out
    assert f"next     see {tmp_path}/out/README.md" in ended.err
    assert run(*analyse, "--status").out.count("True") == 4
    assert_refused(run(*analyse, "num_rows=3"), 5, "these keys differ: num_rows", "--fresh")
    assert run(*analyse, "num_rows=3", "--fresh").code == 0


def test_an_analysis_goes_to_a_bucket(run: Any, tmp_path: Path, emulator: Emulator) -> None:
    files = [f"{name}={place}" for name, place in write_sets(tmp_path).items()]
    ended = run("analyze", "embeddings", *files, *SMALL, f"output=gs://{BUCKET}/out", "--json")
    assert ended.code == 0, ended.err
    assert "distribution_metrics.png" in json.loads(ended.out)["files"]


def test_bad_input_is_one_line_with_its_exit_code(run: Any, tmp_path: Path) -> None:
    out = f"output={tmp_path}/out"
    assert_refused(run("analyze", "embeddings", out), 2, "visual: is required, a file of embeddings")
    assert_refused(run("analyze", "capture", *NETWORK, "hooks.text=txt", out), 2, "hooks.text: txt: no such module")
    assert_refused(run("analyze", "capture", *NETWORK[:-1], "item_arguments.nums=[1,-1]", out), 3, "1 of 2 failed")
    assert_refused(run("analyze", "capture", out), 2, "network: is required, as package.module:name")
    assert_refused(run("analyze", "capture", *NETWORK[:2], out), 2, "hooks: none is given")
    files = [f"{name}={place}" for name, place in write_sets(tmp_path).items()]
    (tmp_path / "old.pkl").write_bytes(bare(tmp_path / "ran"))
    pickled = run("analyze", "embeddings", f"embeddings={tmp_path}/old.pkl", out)
    assert_refused(pickled, 1, "holds more than arrays and plain values")
    assert not (tmp_path / "ran").exists()
    wide = ("analyze", "embeddings", *files, "tsne.perplexity=500", f"output={tmp_path}/figures")
    assert_refused(run(*wide), 2, "needs more points than that")
    assert not (tmp_path / "figures").exists()

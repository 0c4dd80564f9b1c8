"""The benchmark runs and writes what it measured; how fast anything is, no test says."""

import importlib.util
import json
import re
import sys

import pytest
import torch

from indrnn import files
from indrnn.bench import run
from indrnn.bench.cpu import language, layers, memory, skeletons


@pytest.fixture
def script(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("bench_script", files.ROOT / "scripts" / "bench.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(run, "keep_pages", lambda: None)
    monkeypatch.setattr(layers, "SHAPES", ((5, 2, 128),))
    monkeypatch.setattr(layers, "LENGTHS", (4, 6))
    monkeypatch.setattr(layers.update, "__defaults__", (16, 2))
    monkeypatch.setattr(skeletons, "FILES", 2)
    small = ("recipe.hidden_size=8", "data.output_size=5", "data.batch_size=2")
    monkeypatch.setattr(language, "COMMON", (*language.COMMON, *small))
    monkeypatch.setattr(memory, "NETWORKS", {"tiny": ("experiment=ptb_char", "model=indrnn", *small)})
    monkeypatch.setattr(memory, "CHECKED", "tiny")
    monkeypatch.setattr(memory, "LENGTHS", (4, 6))
    monkeypatch.setattr(memory, "resident", lambda overrides: 10**6 if "data.batch_size=2" in overrides[-1] else 10**7)
    monkeypatch.setattr(sys, "argv", ["bench.py", "--device", "cpu", "--rounds", "1", "--out", str(tmp_path / "out")])
    return module


def test_writes_a_table_per_question_and_the_same_numbers_as_json(script, tmp_path, capsys):
    assert script.main() == 0
    text = (tmp_path / "out" / "cpu.md").read_text()
    assert text in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "cpu.json").read_text())
    assert {"device", "versions", "commit", "source", "dirty", "date"} <= set(found)
    measured = [*found["recurrence"], *found["layer"], found["update"], *found["networks"]]
    assert len(measured) == 2 + 1 + 1 + 2 * 6
    for x in measured:
        assert x["ratio"] == pytest.approx(x["ms"] / x["yardstick_ms"]) and x["ms"] > 0
        assert re.fullmatch("L[1-4]|memory|unknown", x["cache"])
        assert f"{x['ms']:.1f} ms ({x['ratio']:.1f})" in text or f"{x['ratio']:.2f}" in text
    assert sum(found["update"]["shares"].values()) == pytest.approx(100)
    assert found["update"]["shares"]["recurrence, batch norm, dropout: forward"] > 0
    assert [x["what"] for x in found["language"]][::3] == ["IndRNN, 6 layers", "LSTM, 6 layers"]
    for x in found["language"]:
        assert x["us_per_token"] == pytest.approx(1e3 * x["ms"] / (x["T"] * x["B"]))
    assert [x["what"] for x in found["skeletons"]] == [
        skeletons.BYTES,
        skeletons.PARSED,
        skeletons.CONVERTED,
    ]
    for x in found["skeletons"]:
        assert x["files"] == 2 and x["files_per_second"] == pytest.approx(2e3 / x["ms"])
    assert [(x["T"], x["save_memory"]) for x in found["memory"]] == [(4, False), (4, True), (6, False), (6, True)]
    assert all(f"{x['peak_per_token']:,.0f}" in text for x in found["memory"])
    if sys.platform == "linux":
        assert [x["measured_per_token"] for x in found["memory_checks"]] == [9e6 / (6 * 4)] * 2
    assert max(map(len, text.splitlines())) <= 120


def test_products_are_those_of_a_linear_layer():
    x, dz, W = torch.randn(5, 2, 3, requires_grad=True), torch.randn(5, 2, 4), torch.randn(4, 3, requires_grad=True)
    y, dx, dW = layers.products(x, dz, W)
    expected = torch.autograd.grad(torch.nn.functional.linear(x, W), (x, W), dz)
    torch.testing.assert_close((dx, dW), expected)
    assert y.shape == dz.shape


def test_the_fastest_round_counts_and_the_first_two_do_not(monkeypatch):
    ticks = iter([0, 1, 1, 2, 2, 5, 5, 7])  # four rounds of 1, 1, 3 and 2 seconds
    monkeypatch.setattr(layers.time, "perf_counter", lambda: next(ticks))
    assert layers.best({"nothing": lambda: None}, 2) == {"nothing": 2000.0}


def test_names_the_cache_that_has_room(monkeypatch, tmp_path):
    monkeypatch.setattr(layers, "CACHES", tmp_path)
    (tmp_path / "index9").mkdir()  # without a size
    assert layers.cache(1) == "unknown"
    listed = [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "1024K"), ("3", "Unified", "32768K")]
    for i, cache in enumerate(listed):
        (tmp_path / f"index{i}").mkdir()
        for name, value in zip(("level", "type", "size"), cache, strict=True):
            (tmp_path / f"index{i}" / name).write_text(value + "\n")
    sizes = [1, 40 << 10, 49 << 10, 1 << 20, (1 << 20) + 1, 1 << 25, (1 << 25) + 1]
    assert [layers.cache(size) for size in sizes] == ["L1", "L1", "L2", "L2", "L3", "L3", "memory"]
    assert layers.sizes(784, 32, 128, 2)["cache"] == "L3" and layers.sizes(784, 32, 128, 3)["cache"] == "memory"


def test_a_folder_that_cannot_be_written_is_one_sentence(script, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert script.main() == 1
    assert "out" in capsys.readouterr().err

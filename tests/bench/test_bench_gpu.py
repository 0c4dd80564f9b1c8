"""The GPU's benchmark at tiny sizes on a CPU (and on a GPU where there is one): rows, ratios, reasons."""

import json
from dataclasses import replace

import pytest
import torch
from small import HEADINGS, SMALL
from test_graph import Called

from indrnn import configs
from indrnn.bench.gpu import constants, device, graphs, kernels, layers, parts, training, update
from indrnn.bench.gpu.sizes import Sizes
from indrnn.recurrence import launches

CPU = torch.device("cpu")
DEVICES = [CPU, torch.device("cuda", 0)] if torch.cuda.is_available() else [CPU]


@pytest.fixture
def compiled(monkeypatch):
    """What ``compile_`` was called with, which compiles nothing here."""
    compiled = []

    def compile_(network, mode):
        compiled.append((network, mode))

    monkeypatch.setattr(update, "compile_", compile_)
    return compiled


# Which rows there are


def test_the_shapes_are_those_of_all_experiments_at_the_paper_profile():
    found = kernels.shapes()
    shapes = {(name, x["T"], x["B"], x["N"]) for x in found for name in x["experiments"]}
    adding = {("adding", T, 32, 128) for T in (100, 500, 1000, 5000)}
    mnist = {(name, 784, 32, 128) for name in ("smnist", "pmnist")}
    text = {(name, 50, 128, 2000) for name in ("ptb_char", "ptb_word")}
    skeletons = {(name, 20, 128, 512) for name in ("ntu_cs", "ntu_cv")}
    assert shapes == adding | mnist | text | skeletons
    assert len(found) == 7  # each shape once


def test_the_layers_are_measured_at_two_settings():
    assert [sizes[1:] for sizes in layers.settings()] == [(128, 32, 128), (2, 32, 128)]


@pytest.mark.parametrize("where", DEVICES, ids=str)
def test_everything_is_measured_and_reported(compiled, tmp_path, monkeypatch, where):
    monkeypatch.setattr(layers, "in_process", lambda *_: {"ms": 3.0, "first_seconds": 41.0})
    monkeypatch.setattr(training, "timed", lambda *_: {"ms": 3.0, "graph": "true", "in_updates": 50.0})
    if where == CPU:  # which has no graphs and no triton
        monkeypatch.setattr(graphs, "Cuda", Called)
        monkeypatch.setattr(constants, "timed", lambda *_: {"ms": 1.0})
    text = parts.measure(where, tmp_path, sizes=SMALL)
    rows_file = f"gpu_{device.slug(device.describe(where)['name'])}.json"
    assert {path.name for path in tmp_path.iterdir()} == {"gpu.md", "gpu.png", rows_file}
    assert (tmp_path / "gpu.md").read_text() == text and f"]({rows_file})" in text and "](gpu.png)" in text
    found = json.loads((tmp_path / rows_file).read_text())
    assert {"device", "gpu", "versions", "commit", "source", "dirty", "date", "constants", "judged"} <= set(found)
    assert {"name", "driver", "cuda", "cudnn", "triton"} <= set(found["gpu"])
    rows = found["measured"]
    counts = {part: len(rows[part]) for part in parts.PARTS}
    assert counts == {
        "recurrence": 2 * 2 * 2,  # shapes, dtypes, passes
        "layers": (2 + 1) * 2 * 2 * 6 + 2 * 2,  # settings in both precisions, lengths, modes, cells; the Python loop
        "calls": 1 + 2 * 4,
        "backends": 2 * 2 * 2 * 2,
        "launches": 2 * (1 + 2),  # passes, the table's settings and others
        "parts": 3,
        "updates": 3 * 2,
        "training": 1,
        "host": 2 * 2,
        "compiled": 3,
        "compiled_loop": 2,
    }
    assert [x for part in rows.values() for x in part if "skipped" in x] == []
    assert "- Everything was measured." in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == HEADINGS
    for x in rows["recurrence"]:
        assert f"{x['of_copy']:.0%}" in text and x["of_copy"] > 0
    for x in rows["parts"]:
        assert x["sum_ms"] == pytest.approx(x["products_ms"] + x["recurrences_ms"] + x["finish_ms"])
    assert all(x["launches"] > 0 and x["host_ms"] > 0 for x in rows["host"])
    assert [x["precision"] for x in rows["host"]] == ["fp32", "fp32", "bf16", "bf16"]
    assert [mode for _, mode in compiled] == ["default"] * 3
    assert all(hasattr(network, "features") and network.training for network, _ in compiled)
    assert max(map(len, text.splitlines())) <= 120


def test_columns_of_every_table_stand_straight(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "in_process", lambda *_: {"ms": 3.0, "first_seconds": 41.0})
    text = parts.measure(CPU, tmp_path, ["recurrence", "calls", "compiled_loop"], SMALL)
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4  # and the bars
    for lines in tables:
        bars = [[i for i, c in enumerate(line) if c == "|"][:-1] for line in lines]  # the last column is not padded
        assert len(lines) > 2 and all(row == bars[0] for row in bars)
    assert "layers: left out by --only." in text and "calls: forward" not in text


def test_what_is_not_measured_says_why_and_the_others_go_on(tmp_path, monkeypatch):
    real = kernels.device_ms

    def device_ms(call, *args, **options):
        if "skip" in pending:
            pending.remove("skip")
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 17 GiB")
        return real(call, *args, **options)

    pending = ["skip"]
    monkeypatch.setattr(kernels, "device_ms", device_ms)
    text = parts.measure(CPU, tmp_path, ["recurrence", "calls"], replace(SMALL, backends=("triton", "scan")))
    rows = json.loads((tmp_path / "gpu_cpu.json").read_text())["measured"]
    assert [x.get("skipped") for x in rows["recurrence"]] == ["out of memory"] + [None] * 7
    line = next(line for line in text.splitlines() if line.startswith("| adding") and "forward" in line)
    assert [cell.strip() for cell in line.split("|")[5:-1]] == ["-"] * 6 + ["out of memory"]
    assert "- recurrence: forward, fp32, T = 6, B = 2: out of memory." in text
    assert sum("us" in x for x in rows["calls"]) == 7  # not the two of triton
    assert "'triton' was asked for, but it does not compute relu on cpu tensors." in " ".join(text.split())


def test_nothing_is_begun_when_the_time_is_over():
    row = kernels.attempt({"what": "x"}, lambda: {"ms": 1.0}, until=0.0)
    assert row == {"what": "x", "skipped": "not begun: the time was over"}
    assert kernels.attempt({}, lambda: 1 / 0) == {"skipped": "ZeroDivisionError: division by zero"}


# What is computed from times


def test_bytes_that_a_pass_moves():
    T, B, N = 5, 2, 3
    element, small = T * B * N, (B * N + N) * 4
    assert kernels.bytes_moved("forward", T, B, N, torch.float32) == 8 * element + small
    assert kernels.bytes_moved("backward", T, B, N, torch.float32) == 12 * element + 2 * small
    assert kernels.bytes_moved("forward", T, B, N, torch.bfloat16) == 6 * element + small
    assert kernels.bytes_moved("backward", T, B, N, torch.bfloat16) == 10 * element + 2 * small


def test_the_fraction_of_a_copy_and_whether_the_cache_holds_it(monkeypatch):
    assert kernels.of_copy(moved=800, ms=2.0, copied=1000, copy_ms=1.0) == pytest.approx(0.4)
    times = iter([2.0, 1.5] * 2)
    monkeypatch.setattr(kernels, "device_ms", lambda *_, **__: next(times))
    moved = kernels.bytes_moved("forward", 4, 2, 8, torch.float32)
    inside, outside = (kernels.against_copy("forward", 4, 2, 8, torch.float32, CPU, l2, 1)
                       for l2 in (moved, moved - 1))  # fmt: skip
    assert inside["of_copy"] == pytest.approx(0.75) and inside["in_l2"] and not outside["in_l2"]


def test_the_backward_pass_is_the_one_of_autograd():
    torch.manual_seed(0)
    dx = kernels.one_pass("backward", 4, 2, 3, CPU, torch.bfloat16)()
    assert dx.shape == (4, 2, 3) and dx.dtype == torch.bfloat16
    torch.manual_seed(0)
    x, u = torch.randn(4, 2, 3, dtype=torch.bfloat16, requires_grad=True), torch.rand(3)
    h = kernels.recurrence(x, u)
    assert torch.equal(torch.autograd.grad(h, x, torch.randn_like(h.detach()))[0], dx)


def test_a_gpu_time_is_the_median_between_events(monkeypatch):
    spans, called = iter([9.0, 1.0, 2.0]), []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            called.append("record")

        def elapsed_time(self, end):
            return next(spans)

    empty = torch.empty
    monkeypatch.setattr(kernels.torch, "empty", lambda size, dtype, device: empty(min(size, 9), dtype=dtype))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: called.append("synchronize"))
    ms = kernels.device_ms(lambda: called.append("call"), torch.device("cuda", 0), rounds=3)
    assert ms == 2.0
    assert called == ["call"] * kernels.WARM_UP + ["record", "call", "record"] * 3 + ["synchronize"]


def test_every_launch_setting_is_tried_and_the_old_one_comes_back(monkeypatch):
    def now(kernel, T, columns):
        return tuple(launches.settings(kernel, CPU, 4, T, columns)[key] for key in constants.SETTINGS)

    before, seen = {now("walk", 5, 8), now("walk_back", 5, 8)}, []

    def timed(what, T, columns, device, backend, rounds):
        seen.append((T, columns, what, *now({"forward": "walk", "backward": "walk_back"}[what], T, columns)))
        return {"ms": 1.0}

    monkeypatch.setattr(constants, "timed", timed)
    rows = list(constants.launches(CPU, Sizes()))
    assert len(set(seen)) == len(rows) == 5 * 2 * 27 and {now("walk", 5, 8), now("walk_back", 5, 8)} == before
    assert {tuple(x[key] for key in constants.SETTINGS) for x in rows} == {row[3:] for row in seen}
    assert {tuple(x[key] for key in constants.SETTINGS) for x in rows if x["now"]} == before


def test_the_best_launch_of_each_shape_and_of_all():
    def row(T, BLOCK, ms):
        settings = {"BLOCK": BLOCK, "num_warps": 1, "AHEAD": 8, "STAGES": 6}
        return {"T": T, "columns": 8, "what": "forward", "now": BLOCK == 32, "ms": ms} | settings

    rows = [row(5, 32, 2.0), row(5, 64, 1.0), row(5, 128, 1.1), row(9, 32, 1.0), row(9, 64, 4.0), row(9, 128, 1.1)]
    rows += [row(9, 256, None) | {"skipped": "out of memory"}]
    del rows[-1]["ms"]
    first, second, of_all = constants.best_launches(rows)
    assert (first["now_ms"], first["ms"], first["BLOCK"]) == (2.0, 1.0, 64)
    assert (second["now_ms"], second["ms"], second["BLOCK"]) == (1.0, 1.0, 32)
    assert of_all["BLOCK"] == 128 and of_all["ms"] == pytest.approx(1.1) and of_all["now_ms"] == pytest.approx(2**0.5)


def test_an_update_against_its_parts():
    rows = [{"what": "a", "precision": "fp32", "ms": 6.0}, {"what": "a", "precision": "tf32", "skipped": "no"}]
    with_sum, without = update.against_parts(rows, [{"what": "a", "precision": "fp32", "sum_ms": 4.0}])
    assert (with_sum["ratio"], without["ratio"], without["sum_ms"]) == (1.5, None, None)


def test_an_update_is_timed_in_the_precision_that_its_row_names(monkeypatch):
    """Building an update sets the precision of its config for the whole process."""
    seen = []

    def device_ms(call, device, rounds, flush):
        seen.append(torch.get_float32_matmul_precision())
        return 1.0

    monkeypatch.setattr(update, "device_ms", device_ms)
    monkeypatch.setattr(graphs, "Cuda", Called)
    characters = (*SMALL.networks[1][:2], "fp32 tf32 bf16")
    rows = [x for x in update.updates(CPU, replace(SMALL, networks=(characters,))) if x["mode"] == "eager"]
    assert [row["precision"] for row in rows] == ["fp32", "tf32", "bf16"] and all(row["ms"] == 1.0 for row in rows)
    assert (
        seen[::2] == seen[1::2] == ["highest", "high", "highest"] and torch.get_float32_matmul_precision() == "highest"
    )


def test_products_are_in_tf32_only_where_asked_for():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    for precision, expected in (("tf32", ("high", True)), ("fp32", ("highest", False)), ("bf16", ("highest", False))):
        with kernels.matmuls(precision):
            assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == expected
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_an_update_in_a_graph_is_recorded_before_it_is_timed(monkeypatch):
    """That of a text, too, whose first one has no state to go on from; what fails is then not timed as a graph."""
    monkeypatch.setattr(graphs, "Cuda", Called)
    for _, overrides, _ in SMALL.networks:
        made = update.Update(configs.build(overrides.split()), CPU, "graph")
        made.begin()
        assert made.task.on_device.replays == 1

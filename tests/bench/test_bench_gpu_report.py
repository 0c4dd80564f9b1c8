"""What the GPU's benchmark makes of its rows: verdicts, report, picture; and what a stop leaves."""

import json
import os
import signal
import struct
import time
from dataclasses import replace

import pytest
import torch
from small import HEADINGS, MEASURED, SMALL, layer, pairs

from indrnn import configs
from indrnn.bench.gpu import bars, device, figure, kernels, layers, parts, report

CPU = torch.device("cpu")


def made_up() -> dict:
    found = parts.header(CPU, list(MEASURED), SMALL) | {"measured": MEASURED, "rows": "gpu_cpu.json"}
    return found | {"judged": [vars(line) | {"reached": line.reached} for line in bars.judged(MEASURED)]}


# Verdicts


def test_the_bars_are_those_that_were_set():
    """(784, 4,096) 0.65 and 0.5, (5000, 4,096) 0.5 and 0.5, (50, 256,000) 0.9 and 0.8 in both dtypes, and so on."""
    lines = bars.judged({})
    assert [line.bar for line in lines] == [
        *(0.65, 0.5, 0.5, 0.5, 0.9, 0.8, 0.9, 0.8),
        *(6, 2.5, 11, 4.5, 20, 8) * 2,  # at the paper's setting, and with input as wide as the layer
        *(1.3, 1.3, 1.15, 60),
    ]
    assert all(line.reached is None for line in lines) and [line.at_least for line in lines].count(False) == 4
    assert len({line.what for line in lines}) == len(lines)


def test_every_bar_is_about_something_that_is_measured():
    """Shapes, settings, lengths, networks and precisions of the full benchmark."""
    full, shapes = parts.FULL, {(x["T"], x["B"] * x["N"]) for x in kernels.shapes()}
    assert {line[:2] for line in bars.OF_COPY} <= shapes and {line[0] for line in bars.LSTM} == set(full.lengths)
    networks = {name: precisions.split() for name, _, precisions in full.networks}
    assert all(networks[name][0] == precision for name, precision, _ in (*bars.PARTS, *bars.TRAINING))
    name, overrides, (_, short, long), (seldom, often) = full.trained
    validating = [line[:3] for line in bars.VALIDATING]
    assert name == bars.TRAINING[0][0] and validating == [
        (name, "fp32", configs.build(overrides.split()).data.counts[1])
    ]
    assert short >= 2 * seldom > 2 * often and short % seldom == long % often == 0, (
        "statistics are recorded in all runs"
    )


def test_reached_missed_and_not_measured():
    lines = bars.judged(MEASURED)
    verdicts = {line.what: line.reached for line in lines if line.measured is not None}
    reached = ["(784, 4,096 columns) fp32, forward: share of a copy",
               "cuDNN's LSTM / one layer, P19 Figure 2, T = 256, in a graph",
               "update of plain-6 MNIST in a graph, fp32 / its parts in graphs",
               "update of plain-6 MNIST in indrnn.train, fp32 / a replay of its graph"]  # fmt: skip
    missed = ["(784, 4,096 columns) fp32, backward: share of a copy",
              "cuDNN's LSTM / one layer, P19 Figure 2, T = 512, in a graph",
              "cuDNN's LSTM / one layer, M = N, T = 256, eager",
              "update of PTB characters in a graph, bf16 / its parts in graphs",
              "recalibrating and validating 3,000 images, fp32: updates of plain-6 MNIST"]  # fmt: skip
    assert verdicts == dict.fromkeys(reached, True) | dict.fromkeys(missed, False)
    assert next(line for line in lines if "P19 Figure 2, T = 1024" in line.what).reached is None  # its LSTM was skipped


@pytest.mark.parametrize("measured, expected", [(1.99, (False, True)), (2.0, (True, True)), (2.01, (True, False))])
def test_a_bar_is_reached_from_its_own_side(measured, expected):
    assert (bars.Judged("", 2.0, measured).reached, bars.Judged("", 2.0, measured, at_least=False).reached) == expected


def test_lstm_against_indrnn_in_the_same_mode():
    rows = [*pairs({1024: 21.0}), *pairs({1024: 8.0}, mode="eager"), layer(layers.FIRST, 512, 2.0)]
    found = {x["mode"]: (x["ratio"], x["paper"]) for x in layers.ratios(rows)}
    assert found == {"graph": (21.0, 12.9), "eager": (8.0, 12.9)}
    (wide,) = layers.ratios(pairs({1024: 3.0}, setting=layers.WIDE))
    assert wide["paper"] is None  # which is about another setting


# Report and picture


def test_the_report_has_its_sections_in_order_and_the_verdicts_first():
    text = report.markdown(made_up())
    assert text.startswith("# Speed on cpu\n")
    there = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert there == [*HEADINGS[:7], HEADINGS[-1]], "what was not measured has no section"
    assert "Reached: 4; missed: 5; not measured: 15." in text
    table = text.split("## Bars")[1].split("##")[0]
    first = [line.split("|")[2:5] for line in table.splitlines() if line.startswith("| (784")]
    cells = [[cell.strip() for cell in line] for line in first]
    assert cells == [["at least 0.65", "0.650", "yes"], ["at least 0.5", "0.490", "no"]]
    assert sum(line.endswith("| not measured |") for line in table.splitlines()) == 15
    (validating,) = (line for line in text.splitlines() if line.startswith("| plain-6 MNIST") and "1,234" in line)
    cells = [cell.strip() for cell in validating.split("|")[3:-1]]
    assert cells == ["1,234", "3,000", "1,900", "87.2", "61.0", ""] and "| statistics from |" in text
    figure2 = text.split("## P19 Figure 2")[1].split("##")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in figure2.splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        ["---------------", "--------", "-------------------------------", "-------", "-------", "--------"],
        ["the paper, P100", "fp32", layers.ADDING, "4.3", "7.6", "12.9"],
        ["cpu, graph", "fp32", layers.ADDING, "6.5", "9.0", "-"],
        ["cpu, eager", "fp32", "M = N", "2.4", "-", "-"],
    ]
    assert max(map(len, text.splitlines())) <= 120


def test_the_picture_has_the_papers_ratios_and_ours(tmp_path):
    rows = [*pairs({256: 2.0, 512: 4.0}, mode="eager"), *pairs({256: 6.0}), *pairs({256: 9.0}, layers.WIDE)]
    assert list(figure.series(rows).values()) == [layers.PAPER, {256: 2.0, 512: 4.0}, {256: 6.0}]
    assert figure.figure2(made_up() | {"measured": {"layers": rows}}, tmp_path / "gpu.png")
    width, height = struct.unpack(">II", (tmp_path / "gpu.png").read_bytes()[16:24])
    assert width > height > 400
    assert not figure.figure2(made_up() | {"measured": {}}, tmp_path / "none.png")
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.png"]


def test_without_matplotlib_there_is_no_picture_and_all_else(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "indrnn.bench.gpu.figure", None)
    assert parts.draw(made_up(), tmp_path / "gpu.png") is None
    assert "gpu.png" not in report.markdown(made_up())


def test_the_driver_is_named_where_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "MODULE", tmp_path / "version")
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release")
    assert device.driver() == "575.57.08"
    (tmp_path / "version").write_text("unheard of")

    def run(words, **_):
        return type("Done", (), {"stdout": "570.124.06\n570.124.06\n"}) if words[0] == "nvidia-smi" else None

    monkeypatch.setattr(device.subprocess, "run", run)
    assert device.driver() == "570.124.06"
    monkeypatch.setattr(device.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError("no")))
    assert device.driver() is None


# Stops and times


def rows_until(stop):
    """A part whose third row does not come."""

    def rows(where, sizes):
        yield layer(layers.FIRST, 4, 2.0)
        yield layer(layers.LSTM, 4, 6.0)
        stop()
        yield pytest.fail("went on")

    return rows


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("stop, kind", [(interrupt, KeyboardInterrupt),
                                        (lambda: os.kill(os.getpid(), signal.SIGTERM), SystemExit)],
                         ids=["Ctrl-C", "SIGTERM"])  # fmt: skip
def test_a_stop_in_the_midst_of_a_part_leaves_all_rows_so_far(tmp_path, monkeypatch, stop, kind):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(parts.PARTS, "layers", rows_until(stop))
    with pytest.raises(kind):
        parts.measure(CPU, tmp_path, sizes=SMALL)
    found = json.loads((tmp_path / "gpu_cpu.json").read_text())
    assert {name: len(rows) for name, rows in found["measured"].items()} == {"recurrence": 8, "layers": 2}
    text = (tmp_path / "gpu.md").read_text()
    assert "## Recurrence" in text and "| cpu, graph      | fp32     | adding problem, as P19 Figure 2 | 3.0" in text
    assert "- layers: stopped within it." in text and "- updates: stopped before it." in text
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_kill_leaves_what_was_there_a_second_ago(tmp_path, monkeypatch):
    seen = []

    def rows(where, sizes):
        for number in range(3):
            yield {"what": f"call {number}", "us": 1.0}
            seen.append(len(json.loads((tmp_path / "gpu_cpu.json").read_text())["measured"]["calls"]))

    monkeypatch.setattr(parts, "EVERY", 0.0)
    monkeypatch.setitem(parts.PARTS, "calls", rows)
    parts.measure(CPU, tmp_path, ["calls"], SMALL)
    assert seen == [1, 2, 3]


def test_what_is_not_begun_in_time_says_so_and_costs_none(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "SECONDS", -1)
    began = time.monotonic()
    text = parts.measure(CPU, tmp_path, sizes=replace(SMALL))
    assert time.monotonic() - began < 10
    rows = json.loads((tmp_path / "gpu_cpu.json").read_text())["measured"]
    assert set(rows) == set(parts.PARTS)
    assert {x["skipped"] for part in rows.values() for x in part} == {"not begun: the time was over"}
    assert all(f"- {name}: all of them: not begun: the time was over." in text for name in rows if len(rows[name]) > 1)
    assert "Reached: 0; missed: 0; not measured: 24." in text and "gpu.png" not in text

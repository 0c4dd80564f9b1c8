"""What is known of the machine."""

import pytest

from indrnn.machine import on_the_card

SERVER = "echo 7, /usr/bin/nvidia-cuda-mps-server"
TOLD = [
    ("echo 12, python; echo 345, [Not Found]", 2),
    (f"echo 12, python; {SERVER}", 1),
    ("true", None),
    ("exit 9", None),
    (None, None),
]


@pytest.mark.parametrize("script, count", TOLD)
def test_processes_on_the_card_are_counted_where_the_driver_tells_of_them(tmp_path, monkeypatch, script, count):
    if script is not None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert on_the_card() == count

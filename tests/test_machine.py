"""What is known of the machine."""

import pytest

from indrnn.machine import on_the_card


@pytest.mark.parametrize("script, count", [("echo 12; echo 345", 2), ("true", 0), ("exit 9", None), (None, None)])
def test_processes_on_the_card_are_counted_where_the_driver_tells_of_them(tmp_path, monkeypatch, script, count):
    if script is not None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert on_the_card() == count

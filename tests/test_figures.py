import pytest
from made_up import make

from indrnn import figures, tables


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_figure_is_drawn_with_and_without_curves(tmp_path, profile):
    sizes = []
    for _ in range(2):
        figures.curves(tables.report("figure2_adding", profile, tmp_path), tmp_path, tmp_path / "figure.png")
        picture = (tmp_path / "figure.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        sizes.append(len(picture))
        make(tmp_path, "figure2_adding", profile, lambda run: 0.2 + run.seed / 100)
    assert sizes[1] != sizes[0]


def test_curve_reads_one_column_and_skips_what_was_not_measured(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("update,train/loss,val/mse\n50,0.5,\n100,0.4,0.3\n")
    assert figures.curve(path, "val/mse") == {100: 0.3}
    assert figures.curve(path, "val/error") == {}
    assert figures.curve(tmp_path / "none.csv", "val/mse") == {}

"""Made-up runs of one's own, in a folder such as runs/."""

from pathlib import Path

from indrnn import configs, record

BUDGET = ("trainer.max_updates=40", "trainer.val_every=10")


def make_run(folder: Path, *words: str, value: float = 0.5, status: str = "finished", **change) -> str:
    """Write the record and the curve of a run that was typed so and measured ``value`` on test and best validation.

    Returns its signature.
    """
    typed = [*words, *BUDGET]
    config = configs.signed(configs.build(typed))
    metric = {"Regression": "mse", "Classification": "error", "Recognition": "accuracy"}[
        config["task"]["_target_"].rpartition(".")[2]
    ]
    signature = configs.signature(config)
    updates = 40 if status == "finished" else 20
    measured = {f"val/{metric}": value, "best_update": updates} if status != "no_data" else {}
    entry = {
        "signature": signature,
        "overrides": typed,
        "config": config,
        "seed": config["seed"],
        "metrics": measured | ({f"test/{metric}": value, "test/loss": value} if status == "finished" else {}),
        "status": status,
        "parameters": 10,
        "updates": updates,
        "examples": updates * config["data"]["batch_size"],
        "wall_seconds": 90.0,
        "commit": "0123456789abcdef" + "0" * 24,
        "source": "a1b2c3d4e5f6",
        "dirty": False,
        "versions": {"python": "3.11"},
        "device": "a CPU",
        "data": {"name": "made up", "stand_in": False},
        "started": "2026-01-01T00:00:00+00:00",
    }
    sign = -1 if metric == "accuracy" else 1
    curve = [{"update": at, f"val/{metric}": value + sign * (updates - at) / 1000} for at in range(10, updates + 1, 10)]
    record.write(folder / signature, entry | change, curve)
    return signature

"""Results of bench.py with every rung and every part, for the tests of tables and charts. All times are invented.

They look like those of a large GPU, so that the charts that are drawn from them can be looked at:

    python -m tests.invented_results DIR      draws them into this folder
"""

import sys
from pathlib import Path

import bench
from benchmark.charts import draw_charts
from benchmark.kernels import block_rows, forms_of_step
from benchmark.report import FORMAT, all_tables
from benchmark.rungs import LADDER, Settings
from benchmark.timing import scaled, summary
from gpu_launch import BLOCK_SHAPES

EPOCHS = (472, 0.106, 104, 0.372, 0.0777, 0.00583)  # seconds of an epoch, in the order of the ladder
FLOOR = {"compute": 1.8e-4, "memory": 1.4e-5, "barriers": 2.36e-3, "total": 2.54e-3}
KERNELS = {  # microseconds in blocks of 8x8, 16x16 and 32x32
    "gather_batch": (3.1, 3.1, 3.4), "conv3x3_forward": (6.7, 7.0, 8.4), "maxpool2_forward": (2.8, 3.4, 3.6),
    "dense_forward": (13.1, 11.2, 20.4), "softmax_cross_entropy": (3.2, 3.2, 3.2), "dense_backward": (2.3, 1.9, 1.9),
    "maxpool2_backward": (8.5, 9.2, 9.4), "conv3x3_backward": (15.3, 19.8, 83.6), "conv3x3_update": (2.5, 2.8, 3.9),
    "dense_update": (13.2, 16.3, 17.2), "advance": (1.3, 1.3, 1.3),
}  # fmt: skip


def times(seconds, n=5, spread=0.01):
    """A summary of n times around these seconds."""
    return summary([seconds * (1 + spread * (2 * i / (n - 1) - 1)) for i in range(n)])


def invented_results():
    """A dict as bench.py writes it into bench.json."""
    names, settings = [rung.name for rung in LADDER], Settings()
    return {
        "format": FORMAT,
        "machine": {
            "date": "2026-01-02", "gpu": "Invented GPU", "driver": "1.2.3", "cpu": "Invented CPU", "cores": 16,
            "threads": 16, "system": "Linux", "versions": {"python": "3.12.3", "numpy": "2.4.6"},
        },
        "card": {
            "peak_flops": 66.9e12, "bandwidth": 3.35e12, "barrier_seconds": 1.26e-6, "barrier_blocks": 64,
            "floor": dict(FLOOR),
        },
        "settings": settings._asdict() | {"learning_rate": 0.2, "full_images": bench.FULL},
        "agreement": {"tolerance": 1e-3, "engines": {name: {"loss": 1e-6, "weights": 1e-5} for name in names[1:]}},
        "learning": [
            {"name": name, "loss": [1.8, 0.8, 0.6, 0.4, 0.35], "accuracy": [0.4, 0.7, 0.8, 0.88, 0.9],
             "epoch_seconds": scaled(times(seconds), 1 / 60)}
            for name, seconds in zip(names, EPOCHS, strict=True)
        ],
        "ladder": ladder(),
        "peers": [
            {"name": name, "device": device, "epoch_seconds": times(epoch), "reading_seconds": times(reading),
             "test_accuracy": 0.9739, "first_seconds": 5.5, "version": version}
            for name, device, epoch, reading, version in (
                ("PyTorch, CPU", "cpu", 1.32, 0.117, "2.11"), ("JAX, jit of scan", "cuda", 0.0564, 7.9e-4, "0.11"),
            )
        ],
        **measured_on_gpu(),
        "seconds": {"comparison": 55.5, "compilation": 20.1, "ladder": 5.0},
        "left_out": ["left out: PyTorch, eager: torch is not installed"],
    }  # fmt: skip


def ladder():
    rows = []
    for rung, seconds in zip(LADDER, EPOCHS, strict=True):
        slow = rung in bench.SLOW
        rows.append(
            {
                "name": rung.name,
                "change": rung.change,
                "images_timed": 1000 if slow else bench.FULL,
                "epoch_seconds": times(seconds),
                "images_per_second": bench.FULL / seconds,
                "over_plain": EPOCHS[0] / seconds,
                "over_previous": rows[-1]["epoch_seconds"]["median"] / seconds if rows else None,
                "accuracy_few": 0.8545,
                "accuracy_full": None if slow else 0.9739,
                "times_floor": seconds / FLOOR["total"] if rung.path else None,
            }
        )
    return rows


def measured_on_gpu():
    names = [rung.name for rung in LADDER if rung not in bench.SLOW]
    image = {  # microseconds
        "Numba threads": (35, 10, 2.8, 1.6, 1.3, 1.2), "GPU layers": (392, 97, 24, 6, 1.5, 0.9),
        "GPU graph": (54, 14, 3.7, 1.3, 0.84, 0.91), "GPU epoch": (5.6, 1.4, 0.36, 0.097, 0.04, 0.027),
    }  # fmt: skip
    batches = [("plain Python", size, 7.86e-3) for size in bench.BATCH_SIZES]
    batches += [(n, size, us * 1e-6) for n in names for size, us in zip(bench.BATCH_SIZES, image[n], strict=True)]
    reading = {"plain Python": 3.6e-3, "Numba threads": 2.3e-5, "GPU layers": 4.6e-4, "GPU graph": 4.5e-4,
               "GPU epoch": 4.2e-4}  # fmt: skip
    step = {name: times(image[name][0] * 1e-6) for name in names} | {"plain Python": times(7.86e-3)}
    return {
        "fastest": {
            "name": "GPU epoch",
            "epochs": [
                {"batch_size": size, "epoch_seconds": times(seconds), "accuracy": 0.97}
                for size, seconds in zip(bench.LARGE_BATCHES, (5.9e-3, 3.3e-3, 1.6e-3), strict=True)
            ],
            "target": {"accuracy": 0.97, "epochs": 3, "seconds": times(0.023)},
        },
        "batches": [{"name": name, "batch_size": size, "image_seconds": times(t)} for name, size, t in batches],
        "inference": [
            {"name": name, "images_timed": images, "seconds": times(seconds)}
            for name, images, seconds in (
                ("plain Python", 100, 43.8), ("Numba threads", 10_000, 5.8e-3),
                ("GPU, images from the host", 10_000, 2.85e-3), ("GPU, images on the GPU", 10_000, 6.4e-5),
            )
        ],
        "small": [
            {"work": "a step with one image", "seconds": step},
            {"work": "read one image", "seconds": {name: times(seconds) for name, seconds in reading.items()}},
        ],
        "first_steps": [
            {"name": name, "compiled_seconds": compiled, "cached_seconds": 0.4 + compiled / 20}
            for name, compiled in zip(names, (10.2, 2.7, 3.2, 6.2), strict=True)
        ],
        "copies": [
            {"case": "GPU layers: copied once for 5 epochs", "copies_seconds": 6e-3, "total_seconds": 1.9,
             "share": 0.003},
            {"case": "GPU naive: every call copies (200 images, batch size 1)", "copies_seconds": 0.387,
             "total_seconds": 0.474, "share": 0.816},
        ],
        "blocks": blocks(),
        "step": parts_of_a_step(),
        "wrong_timing": {
            "images": 10_000,
            "right": times(6.1e-4, 20),
            "wrong": {"not waited": times(3.1e-5, 20), "copied": times(0.112), "compiled": summary([0.45])},
        },
    }  # fmt: skip


def blocks():
    rows, _ = block_rows(BLOCK_SHAPES, 64, 8)
    for row in rows:
        shape = [f"{x}x{y}" for x, y in BLOCK_SHAPES].index(row["block"])
        seconds = times(KERNELS[row["kernel"]][shape] * 1e-6, 30, 0.02)
        row |= {"registers": 32, "shared_bytes": 4096, "occupancy": (1, 1, 0.5)[shape], "seconds": seconds}
    epochs = {"GPU layers": (0.0612, 0.0611, 0.0613), "GPU graph": (0.0121, 0.0128, 0.0236)}
    return {
        "batch_size": 64,
        "kernels": rows,
        "epoch_images": 10_000,
        "epochs": [
            {"name": name, "block": f"{x}x{y}", "seconds": times(time)}
            for name, seconds in epochs.items()
            for (x, y), time in zip(BLOCK_SHAPES, seconds, strict=True)
        ],
    }


def parts_of_a_step():
    steps = 938
    return {
        "batch_size": 64,
        "rungs": {rung.name: t / steps for rung, t in zip(LADDER, EPOCHS, strict=True) if rung.path},
        "copies": 0.816,
        "kernels": [{"name": name, "seconds": times(KERNELS[name][1] * 1e-6, 30)} for name in forms_of_step(64, 8)],
        "in_a_row": times(7.6e-5, 30),
        "launching": times(3.6e-4, 20),
        "barrier": {"blocks": 132, "threads": 384, "seconds": 1.35e-6},
        "floor": {part: seconds / steps for part, seconds in FLOOR.items()},
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(all_tables(invented_results()))
    print(*draw_charts(invented_results(), folder), sep="\n")

"""The tables of what bench.py measured, in Markdown, and the sentences between them.

Each function takes the results (results/bench.json) and returns text; it is empty where nothing was measured.
"""

from itertools import pairwise

from benchmark.text import (
    epochs_text,
    listed,
    percent_text,
    seconds_text,
    speed_text,
    spread_text,
    step_text,
    three_digits,
)


def markdown(header, rows, text_columns=(0,)):
    """A Markdown table whose columns line up in a terminal too; figures to the right, text columns to the left."""
    cells = [list(header)] + [[str(cell) for cell in row] for row in rows]
    columns = []
    for i, column in enumerate(zip(*cells, strict=True)):
        width = max(map(len, column))
        left = i in text_columns
        first, *rest = (cell.ljust(width) if left else cell.rjust(width) for cell in column)
        columns.append([first, "-" * width if left else "-" * (width - 1) + ":", *rest])
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*columns, strict=True))


def heading(results):
    """The machine, the versions and the settings, in one paragraph."""
    machine, settings = results["machine"], results["settings"]
    gpu = f"{machine['gpu']}, driver {machine['driver'] or 'unknown'}; " if machine["gpu"] else "no GPU; "
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"Measured {machine['date']} on {gpu}{machine['cpu']}, {machine['threads']} threads; {versions}. "
        f"{settings['filters']} filters, batch size {settings['batch_size']}. "
        "Every figure is a median (smallest..largest of n)."
    )


def agreement_text(results):
    """How well the engines agreed: the largest differences of all of them, in a sentence."""
    agreed, settings = results["agreement"], results["settings"]
    worst = {key: max(engine[key] for engine in agreed["engines"].values()) for key in ("loss", "weights")}
    return (
        f"Checked first: after {epochs_text(settings['epochs'])} of {settings['images']:,} images all engines had "
        f"learned what plain Python learned (largest differences: loss {worst['loss']:.1e}, weights "
        f"{worst['weights']:.1e} of the way they went; tolerance {agreed['tolerance']:g})."
    )


def headline(results):
    """The fair comparison and the other one, in a sentence: against the CPU's threads, and against a Python loop."""
    times = {row["name"]: row["epoch_seconds"]["median"] for row in results["ladder"]}
    best, machine = best_gpu(results), results["machine"]
    threads, plain = times.get("Numba threads"), times["plain Python"]
    of_epoch = f"an epoch of {results['settings']['full_images']:,} images"
    if not best:
        return (
            f"Compiled, on {machine['threads']} threads of the CPU, {of_epoch} takes {seconds_text(threads)}: "
            f"{speed_text(plain / threads)} as fast as a loop in plain Python."
        )
    return (
        f"On the GPU {of_epoch} takes {seconds_text(times[best])} ({best}). That is "
        f"{speed_text(threads / times[best])} as fast as compiled code on {machine['threads']} threads of the CPU, and "
        f"{speed_text(plain / times[best])} as fast as a loop in plain Python."
    ).replace("slower as fast as", "slower than")


def ladder_table(results):
    """A row for each way to train: the time of an epoch, the speeds that follow from it, and what was learned."""
    settings, rows = results["settings"], []
    for row in results["ladder"]:
        mark = "" if row["images_timed"] == settings["full_images"] else " *"
        rows.append(
            (
                row["name"],
                spread_text(row["epoch_seconds"]) + mark,
                step_text(row["over_previous"]),
                speed_text(row["over_plain"]),
                f"{three_digits(row['times_floor'])}x" if row["times_floor"] else "",
                percent_text(row["accuracy_few"]),
                percent_text(row["accuracy_full"]),
            )
        )
    few, full = (f"{settings[count]:,}" for count in ("images", "full_images"))
    accuracies = f"test, {few}", f"test, {full}"
    header = ("train", "epoch", "step up", "over plain", "of floor", *accuracies)
    note = (
        f"epoch: {full} images at batch size {settings['batch_size']}; \\* timed on {few} and scaled per image. "
        "step up: the speed-up over the row before. of floor: the time, as a multiple of the floor. "
        f"test: the accuracy on the test set after {epochs_text(settings['epochs'])} of {few} or {full} images."
    )
    return "\n\n".join([markdown(header, rows), note, ladder_said(results)]).strip()


def ladder_said(results):
    """Which rung of the GPU gains the most, and which are slower than the rung before."""
    rows = [row for row in results["ladder"] if row["name"].startswith("GPU")]
    if not rows:
        return ""
    before = {row["name"]: previous["name"] for previous, row in pairwise(results["ladder"])}

    def step(row):
        return f"{step_text(row['over_previous'])} than {before[row['name']]}"

    most = max(rows, key=lambda row: row["over_previous"])
    said = f"Of the GPU's rungs {most['name']} gains the most: it is {step(most)}."
    return said + "".join(f" {row['name']} is {step(row)}." for row in rows if row["over_previous"] < 1)


def floor_text(results):
    """How the floor was computed; empty without a GPU that tells its clocks."""
    card, settings = results["card"], results["settings"]
    if not card["floor"]:
        return ""
    parts = card["floor"]
    return (
        f"The floor of an epoch is {seconds_text(parts['total'])}: the larger of arithmetic "
        f"({seconds_text(parts['compute'])} at {card['peak_flops'] / 1e12:.1f} TFLOP/s) and memory "
        f"({seconds_text(parts['memory'])} at {card['bandwidth'] / 1e12:.2f} TB/s), plus two grid-wide barriers a step "
        f"({seconds_text(parts['barriers'])}; one takes {seconds_text(card['barrier_seconds'])} over "
        f"{card['barrier_blocks']} blocks at batch size {settings['batch_size']})."
    )


def peers_table(results):
    """The peers, and above them the engines of this project but for the two slow ones."""
    if not results["peers"]:
        return ""
    ours = [row for row in results["ladder"] if row["name"] not in ("plain Python", "GPU naive")]
    rows = [
        (row["name"], row["epoch_seconds"], row["accuracy_full"], reading_seconds(results, row["name"]), "")
        for row in ours
    ] + [
        (row["name"], row["epoch_seconds"], row["test_accuracy"], row["reading_seconds"], row["first_seconds"])
        for row in results["peers"]
    ]
    cells = [
        (name, spread_text(epoch), percent_text(accuracy), spread_text(reading) if reading else "",
         seconds_text(first) if first else "")
        for name, epoch, accuracy, reading, first in rows
    ]  # fmt: skip
    header = ("way to train", "epoch", "test accuracy", "10,000 test images read", "first epoch, compilation included")
    versions = ", ".join(sorted({f"{row['name'].split(',')[0]} {row['version']}" for row in results["peers"]}))
    return f"{markdown(header, cells)}\n\n{versions}. {peers_ratio(results)}"


def reading_seconds(results, name):
    """The summary of reading the test set that can be compared with a peer's, or None.

    All GPU rungs read with the same kernel, so its time stands once, beside the fastest of them.
    """
    wanted = {"Numba threads": "Numba threads", best_gpu(results): "GPU, images on the GPU"}.get(name)
    return next((row["seconds"] for row in results["inference"] if row["name"] == wanted), None)


def best_gpu(results):
    """The name of the fastest GPU rung, or None."""
    gpu = [row for row in results["ladder"] if row["name"].startswith("GPU")]
    return min(gpu, key=lambda row: row["epoch_seconds"]["median"])["name"] if gpu else None


def peers_ratio(results):
    """A sentence for the fastest GPU rung and one for the CPU's threads: each against the fastest peer there."""
    sentences = []
    for ours, device in ((best_gpu(results), "cuda"), ("Numba threads", "cpu")):
        peers = [row for row in results["peers"] if row["device"] == device]
        if ours and peers:
            best = min(peers, key=lambda row: row["epoch_seconds"]["median"])
            mine = next(row for row in results["ladder"] if row["name"] == ours)
            ratio = best["epoch_seconds"]["median"] / mine["epoch_seconds"]["median"]
            speed = f"{speed_text(ratio)} as fast as" if ratio >= 1 else f"{speed_text(ratio)} than"
            sentences.append(f"{ours} trains {speed} the fastest peer there, {best['name']}.")
    return " ".join(sentences)


def fastest_table(results):
    """The fastest way to train: an epoch at three batch sizes, and the time to a good accuracy."""
    fastest, settings = results["fastest"], results["settings"]
    rows = [
        (f"{row['batch_size']:,}", spread_text(row["epoch_seconds"]), percent_text(row["accuracy"]))
        for row in fastest["epochs"]
    ]
    header = (f"{fastest['name']}: batch size", "an epoch", f"test accuracy after {epochs_text(settings['epochs'])}")
    text = markdown(header, rows)
    if fastest["target"]:
        target = fastest["target"]
        text += (
            f"\n\nFrom new weights to {percent_text(target['accuracy'])} of the test images read right, at batch size "
            f"{settings['batch_size']}: {spread_text(target['seconds'])}, {epochs_text(target['epochs'])}, each with a "
            "reading of the test set after it. Data in memory, everything compiled."
        )
    return text


def inference_table(results):
    """The time to read the test set."""
    rows = [
        (row["name"], spread_text(row["seconds"]) + ("" if row["images_timed"] > 100 else " *"))
        for row in results["inference"]
    ]
    return markdown(("reading the 10,000 test images", "time"), rows) + "\n\n\\* timed on 100 images and scaled."


def parts_table(results):
    """Where the time of the run itself went, the longest part first."""
    parts = sorted(results["seconds"].items(), key=lambda item: -item[1])
    total = sum(results["seconds"].values())
    rows = [(part, f"{seconds:.1f} s") for part, seconds in parts]
    return markdown((f"this run: {total:.0f} s of measuring", "time"), rows)


def batches_table(results):
    """Training time per image, and the speed-up over plain Python, for every batch size."""
    times, names = batch_times(results)
    rows = []
    for size in dict.fromkeys(size for _, size in times):
        plain = times["plain Python", size]
        cells = [f"{seconds_text(times[name, size])} ({speed_text(plain / times[name, size])})" for name in names]
        rows.append((f"{size:,}", *cells))
    header = ("batch size", *names)
    note = (
        "Training time per image (speed-up over plain Python). Plain Python takes an image at a time, whatever the "
        "batch: it is measured once."
    )
    return "\n\n".join([markdown(header, rows), note, batches_said(results)]).strip()


def batch_times(results):
    """({(name, batch size): seconds of an image}, the names in order)."""
    times = {(row["name"], row["batch_size"]): row["image_seconds"]["median"] for row in results["batches"]}
    return times, list(dict.fromkeys(name for name, _ in times))


def batches_said(results):
    """From which batch size on each rung of the GPU is faster than the CPU's threads."""
    times, names = batch_times(results)
    sizes = list(dict.fromkeys(size for _, size in times))
    said = []
    for name in names:
        if name.startswith("GPU"):
            won = [size for size in sizes if times[name, size] < times["Numba threads", size]]
            if won == sizes:
                said.append(f"{name} is faster than Numba threads at every batch size.")
            elif won and won == sizes[-len(won) :]:
                said.append(f"{name} is faster than Numba threads from batch size {won[0]:,} on.")
            elif won:
                said.append(f"{name} is faster than Numba threads at batch size {listed([f'{n:,}' for n in won])}.")
            else:
                said.append(f"{name} is slower than Numba threads at every batch size.")
    return " ".join(said)


def small_table(results):
    """Where the GPU is slower: work that is too small for it, and the first step, which compiles."""
    names = [row["name"] for row in results["ladder"] if row["name"] != "GPU naive"]
    cells = []
    for work, seconds in small_works(results).items():
        winner = min((name for name in names if name in seconds), key=seconds.get)
        cells.append((work, *(seconds_text(seconds[name]) if name in seconds else "" for name in names), winner))
    note = (
        "A step with one image is timed in an epoch of such steps; reading begins and ends on the host. A first batch "
        "has 64 images: the first ever compiles, the first of a process loads what is kept on the disk."
    )
    table = markdown(("one image, or the first batch", *names, "fastest"), cells)
    return f"{table}\n\n{note} {lost_said(results)}".strip()


def small_works(results):
    """{work: {name: seconds}}: a step with one image, reading one, and the first batch with and without compiling."""
    works = {row["work"]: {name: s["median"] for name, s in row["seconds"].items()} for row in results["small"]}
    plain = next(row for row in results["batches"] if row["name"] == "plain Python")["image_seconds"]["median"]
    for key, work in (("compiled_seconds", "the first batch ever"), ("cached_seconds", "the first batch of a process")):
        works[work] = {row["name"]: row[key] for row in results["first_steps"]}
        works[work]["plain Python"] = 64 * plain  # a batch of 64, as for the others; it has nothing to compile
    return works


def lost_said(results):
    """Where the GPU loses, work by work: how much faster the fastest is than the best of the GPU."""
    lost = []
    for work, seconds in small_works(results).items():
        gpu = {name: value for name, value in seconds.items() if name.startswith("GPU")}
        winner = min(seconds, key=seconds.get)
        if gpu and winner not in gpu:
            best = min(gpu, key=gpu.get)
            lost.append(f"{work} ({winner} is {three_digits(gpu[best] / seconds[winner])} times as fast as {best})")
    return f"The GPU loses here: {listed(lost)}." if lost else ""

"""Numbers as text, in the terminal, in the README and on the charts."""


def three_digits(value):
    """1234.5 -> "1,234", 12.345 -> "12.3", 0.5 -> "0.50"."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def seconds_text(seconds):
    """Three digits and a unit: 0.00834 -> "8.34 ms"."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            return f"{three_digits(seconds * factor)} {unit}"


def spread_text(statistic):
    """A summary with its spread: "8.34 ms (8.30..8.51, n=5)", all in the unit of the median."""
    low, middle, high = (statistic[name] for name in ("min", "median", "max"))
    factor = 1 if middle >= 1 else 1e3 if middle >= 1e-3 else 1e6
    return f"{seconds_text(middle)} ({three_digits(low * factor)}..{three_digits(high * factor)}, n={statistic['n']})"


def speed_text(factor):
    """A speed as a multiple of another: 8 -> "8.00x". Below 1 it is the inverse: 0.1 -> "10.0x slower"."""
    return f"{three_digits(factor)}x" if factor >= 1 else f"{three_digits(1 / factor)}x slower"


def step_text(factor):
    """A step up or down: 8 -> "8.00x faster", 0.1 -> "10.0x slower"; None -> ""."""
    if factor is None:
        return ""
    return speed_text(factor) + (" faster" if factor >= 1 else "")


def epochs_text(count):
    """1 -> "1 epoch", 5 -> "5 epochs"."""
    return f"{count} epoch{'' if count == 1 else 's'}"


def percent_text(share):
    """0.9739 -> "97.39%"; None -> ""."""
    return "" if share is None else f"{share:.2%}"


def listed(words):
    """["a", "b", "c"] -> "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def share_text(share):
    """0.660 -> "66 %", 0.165 -> "16.5 %", 0.996 -> "99.6 %": a digit more where the share is small, or nearly all."""
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 20 or 99 < percent < 100 else f"{percent:.0f} %"

"""What one cell of a CSV file says."""

import math


def to_number(cell: str) -> float | None:
    """The cell as a float (NaN and infinities included), or None."""
    if "_" in cell:  # Python reads 1_000 as a number; nobody writes it into CSV on purpose
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def is_gap(cell: str) -> bool:
    """Tell whether a value is missing: the cell is empty, or NaN."""
    number = to_number(cell)
    return not cell.strip() if number is None else math.isnan(number)

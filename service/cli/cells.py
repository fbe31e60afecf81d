"""What one cell of a CSV file says."""


def to_number(cell: str) -> float | None:
    """The cell as a float (NaN and infinities included), or None."""
    if "_" in cell:  # Python reads 1_000 as a number; nobody writes it into CSV on purpose
        return None
    try:
        return float(cell)
    except ValueError:
        return None

"""``make bench``: what the appliance costs, beside floors measured in the same run."""

from __future__ import annotations

from hil.bench import announce, crowd, evidence, judging, looks, model, pictures, pixels, start, store, stream


def main() -> None:
    """Print all rows."""
    print(f"{'':52} {'measured':>12} {'floor':>12} {'ratio':>8}")
    for part in (evidence, looks, model, pictures, stream, store, judging, announce, crowd, pixels, start):
        for row in part.rows():
            print(row.text(), flush=True)


if __name__ == "__main__":
    main()

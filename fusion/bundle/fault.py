"""What can be wrong with a bundle.

BundleFault (ValueError)      one line: file, place, what was found, what to do
├── BundleRefused             nothing of the bundle can be used (``passage.json``, or the container itself)
└── FileFault                 one file cannot be used: its modality is faulty, the others are not
"""

from __future__ import annotations


class BundleFault(ValueError):
    """One line: file, place, what was found, what to do."""


class BundleRefused(BundleFault):
    """Nothing of the bundle can be used."""


class FileFault(BundleFault):
    """One file cannot be used; its modality is faulty."""

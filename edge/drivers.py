"""Which drivers there are: our own by their files, those of others by an entry point of group ``lanepulse.drivers``.

A driver's name is ``<modality>.<file>``. Nothing is imported before a driver is asked for by name, so that one broken
package of somebody else's costs nothing to a lane that does not use it.
"""

from __future__ import annotations

import importlib
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from pydantic import BaseModel

import drivers
from drivers.driver import Driver
from drivers.reading import Modality

GROUP = "lanepulse.drivers"
PARTS = ("Config", "MODALITY", "expected", "probe", "readings")  # the names of the Driver protocol
_SAYS_MODALITY = re.compile(r"^MODALITY\b", re.MULTILINE)


class UnknownDriver(LookupError):
    """No driver of that name is installed."""


class BrokenDriver(Exception):
    """One line: which driver, from where, what is missing of it."""


def names() -> dict[str, str]:
    """Driver name -> module, sorted. Ours come first: a foreign package cannot put itself in the place of one."""
    found = _own()
    for point in entry_points(group=GROUP):
        if not point.value.startswith("drivers."):
            found.setdefault(point.name, point.value)
    return dict(sorted(found.items()))


def find(name: str) -> Driver:
    """The driver module of that name.

    Raises:
        UnknownDriver: nothing of that name is installed.
        BrokenDriver: it is installed and cannot be used.
    """
    module_name = names().get(name)
    if module_name is None:
        raise UnknownDriver(name)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # what somebody else's package does while it is imported is not in our hands
        raise BrokenDriver(
            f"driver {name} ({module_name}): {type(error).__name__}: {error}; mend its package"
        ) from None
    missing = [part for part in PARTS if not hasattr(module, part)]
    if missing:
        raise BrokenDriver(f"driver {name} ({module_name}): has no {', '.join(missing)}; see drivers/driver.py")
    if not (isinstance(module.Config, type) and issubclass(module.Config, BaseModel)):
        raise BrokenDriver(f"driver {name} ({module_name}): Config is no pydantic model; see drivers/driver.py")
    if not isinstance(module.MODALITY, Modality):
        raise BrokenDriver(f"driver {name} ({module_name}): MODALITY is no drivers.reading.Modality")
    return cast(Driver, module)


def _own() -> dict[str, str]:
    """A file under ``drivers/<modality>/`` that says its ``MODALITY`` is a driver; the others there are decoders."""
    found = {}
    for root in map(Path, drivers.__path__):
        for modality in Modality:
            for file in sorted((root / modality).glob("[!_]*.py")):
                if _SAYS_MODALITY.search(file.read_text(encoding="utf-8")):
                    found[f"{modality}.{file.stem}"] = f"drivers.{modality}.{file.stem}"
    return found

"""Where the lane keeps things: the box's own folders, or all of it under one root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of one lane. ``state`` survives a boot, ``runtime`` does not, ``keys`` holds secrets (mode 0700)."""

    state: Path = Path("/var/lib/lanepulse")
    runtime: Path = Path("/run/lanepulse")
    keys: Path = Path("/etc/lanepulse/keys")

    @classmethod
    def under(cls, root: Path | None) -> Self:
        """All of it under ``root``, for a checkout run; the box's own folders for None."""
        return cls() if root is None else cls(root / "state", root / "run", root / "keys")

    @property
    def journal(self) -> Path:
        return self.state / "journal.db"

    @property
    def bundles(self) -> Path:
        return self.state / "bundles"

    @property
    def quarantine(self) -> Path:
        return self.state / "quarantine"

    @property
    def models(self) -> Path:
        return self.state / "models"

    @property
    def calibrations(self) -> Path:
        """The chain of calibration records; made by the first of them."""
        return self.state / "calibrations"

    @property
    def cases(self) -> Path:
        """Folder of photos of cases, one folder a passage."""
        return self.state / "cases"

    @property
    def packs(self) -> Path:
        """Folder of sealed referral packs."""
        return self.state / "packs"

    @property
    def leases(self) -> Path:
        """Folder of the devices' lock files. Not under ``runtime``, which goes when the service stops."""
        return self.state / "leases"

    @property
    def drills(self) -> Path:
        """Practice: its cases and its results, apart from everything that the lane records."""
        return self.state / "drills"

    @property
    def resume_notes(self) -> Path:
        return self.state / "resume-notes.json"

    @property
    def last_end(self) -> Path:
        """How the service manager saw the last run end."""
        return self.state / "last-end"

    @property
    def control_socket(self) -> Path:
        return self.runtime / "control.sock"

    @property
    def curve(self) -> Path:
        """The lane's private CURVE key file."""
        return self.keys / "curve.key"

    @property
    def signing(self) -> Path:
        """The lane's private signing key file (Ed25519)."""
        return self.keys / "signing.key"

    @property
    def audit(self) -> Path:
        """The secret under which the audit is drawn; nobody who decides on searches may read it."""
        return self.keys / "audit.secret"

    @property
    def viewer(self) -> Path:
        """Private CURVE key file of whoever follows the lane on this machine."""
        return self.keys / "viewer.key"

    @property
    def officers(self) -> Path:
        """Ids, roles and hashed PINs of those who may enter outcomes at the booth."""
        return self.keys / "officers.json"

    @property
    def allowed(self) -> Path:
        """Folder of the public CURVE keys of those who may listen."""
        return self.keys / "allowed"

    def make(self) -> None:
        """Make what is missing. Raises OSError."""
        for folder, mode in ((self.state, 0o750), (self.runtime, 0o750), (self.keys, 0o700)):
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
        for folder in (self.bundles, self.quarantine, self.models, self.leases, self.allowed):
            folder.mkdir(mode=0o750, exist_ok=True)
        self.cases.mkdir(mode=0o770, exist_ok=True)  # whoever may use the control socket may bring photos

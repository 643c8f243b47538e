"""The page in every pack on how to check it without us, and the script that does the same."""

from __future__ import annotations

from pathlib import Path

SCRIPT = Path(__file__).with_name("check.sh")
PAGE = """\
HOW TO CHECK THIS PACK

{case}, sealed {made_utc}.

You need three programs that every Debian, Ubuntu or Fedora has: sha256sum, openssl (3.0 or later), unzip.
Nothing of the maker's is needed, and nothing is asked of any network.

You need three files from the sender, in one folder:
    {zip}                 the pack
    {zip}.sha256          its digest
    {zip}.sha256.sig      the lane's signature of that digest
and, by another way than the pack itself (the site's owner publishes it), the lane's public key, here LANE.pub.
The SHA-256 of that key file must be
    {fingerprint}

All at once:
    unzip -p {zip} check.sh > check.sh     (read it: it is short)
    sh check.sh {zip} LANE.pub
It prints GOOD, or FAILED and where.

Step by step, by hand:
 1. The whole file is what the lane sealed:
        openssl pkeyutl -verify -pubin -inkey LANE.pub -rawin -in {zip}.sha256 -sigfile {zip}.sha256.sig
        sha256sum -c {zip}.sha256
 2. Each file in it is on the signed list, and is what the list says:
        unzip {zip} -d pack && cd pack
        openssl pkeyutl -verify -pubin -inkey ../LANE.pub -rawin -in MANIFEST.sha256 -sigfile MANIFEST.sha256.sig
        sha256sum -c MANIFEST.sha256
 3. What was recorded stood in the lane's journal when it was signed. A row of the journal is journal/row-N.txt; its
    SHA-256 is the second word of the line N in a journal/chain-H.txt. The hash of each row is the SHA-256 of
        64:<that word>,64:<hash of the row before>,
    beginning with the hash that the line "start" gives; the last hash of the chain stands in journal/head-H.json:
        openssl pkeyutl -verify -pubin -inkey ../LANE.pub -rawin -in journal/head-H.json -sigfile journal/head-H.sig
 4. Plates and a driver's words are not in the journal itself: it holds their salted SHA-256, so that they can be
    deleted when their time has come. The SHA-256 of private/N-NAME.json stands in journal/row-N.txt.
    The SHA-256 of bundle/passage.json and of the raw files beside it stand in the row of kind "bundle"; those of the
    photos in rows of kind "case.note"; each line of bundle/verdicts.jsonl is the body of a row of kind "verdict".

If a check fails, nothing in the pack can be relied upon: ask the sender for it again.
What a good check shows: nothing has changed since the pack was sealed, and every entry stood in the journal, in this
order, at the time of the signed head. It cannot show that what a person entered was true.
"""


def page(case_id: str, zip_name: str, fingerprint: str, made_utc: str) -> str:
    """The page for one pack."""
    return PAGE.format(case=case_id, zip=zip_name, fingerprint=fingerprint, made_utc=made_utc)

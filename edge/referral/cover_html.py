"""A cover as one HTML page: no script, nothing from elsewhere but the pack's own photos."""

from __future__ import annotations

from html import escape

from edge.referral.cover import Cover, Part

STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:0 auto;padding:1rem 1.5rem;color:#111;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:1.8rem;break-after:avoid}
table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #bbb;padding:.25rem .6rem .25rem 0;
text-align:left;vertical-align:top;overflow-wrap:anywhere}tr{break-inside:avoid}
table.pairs th{width:16rem;font-weight:normal;color:#444}td{white-space:pre-line}
figure{margin:1rem 0;break-inside:avoid}img{max-width:100%}figcaption,li{overflow-wrap:anywhere}
"""


def page(cover: Cover) -> str:
    """The page; the same bytes for the same cover."""
    photos = "".join(
        f'<figure><img src="{escape(path, quote=True)}" alt="{escape(caption, quote=True)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, path in cover.photos
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' file:; "
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(cover.title)}</title><style>{STYLE}</style></head><body><h1>{escape(cover.title)}</h1>"
        + "".join(f"<p>{escape(line)}</p>" for line in cover.said)
        + "".join(map(_part, cover.parts))
        + (f"<h2>Photos</h2>{photos}" if photos else "")
        + "</body></html>\n"
    )


def _part(part: Part) -> str:
    if part.columns:
        head = f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in part.columns)}</tr></thead>"
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in part.rows)
        table = f"<table>{head}<tbody>{body}</tbody></table>"
    else:
        body = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in part.rows
        )
        table = f'<table class="pairs"><tbody>{body}</tbody></table>'
    notes = "".join(f"<li>{escape(note)}</li>" for note in part.notes)
    return f"<h2>{escape(part.title)}</h2>{table}" + (f"<ul>{notes}</ul>" if notes else "")

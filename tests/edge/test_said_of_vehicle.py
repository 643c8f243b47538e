from __future__ import annotations

from edge.booth.board import said_by
from edge.said_of_vehicle import Sources
from fusion.passage import BodyType, Context


def test_each_word_has_its_source_and_the_newest_counts() -> None:
    sources = Sources()
    sources.said({"engine": "on", "cargo": "produce"}, "uid 1000")
    sources.said({"engine": "off"}, "booth o17, uid 990")
    told = sources.document(BodyType.SOFT_SIDED, Context(engine="off", cargo="produce", sealed_for_s=3600.0))
    assert told == {
        "body_type": {"value": "soft_sided", "source": "lane"},
        "engine": {"value": "off", "source": "booth o17, uid 990"},
        "cargo": {"value": "produce", "source": "uid 1000"},
        "sealed_for_s": {"value": 3600.0, "source": "lane"},
    }
    assert said_by(told["engine"]) == {"value": "off", "by": "booth", "officer": "o17"}
    assert said_by(told["cargo"])["by"] == "terminal"
    assert said_by({"value": "\u202e<b>", "source": "booth \u202e"}) == {"value": "<b>", "by": "booth", "officer": None}

"""What the sensors added, and how often they could say anything."""

from __future__ import annotations

from edge.records import relations
from edge.records.asked import Asked, once, one, part, rows
from edge.records.intervals import Rate, share
from edge.records.sections import Cell, Section, rate_chart
from fusion.verdict import MODALITIES

MOST_CAUSES = 12  # of each modality: what a person reads; the rest are one row


def modalities(asked: Asked) -> Section:
    """What each modality added: contributions are additive, so one is left out by subtraction."""
    title = "What each modality added"
    told_limits = once(relations.limits(asked.counted))
    limits = rows(told_limits)
    if not limits:
        return Section("modalities", title, notes=("No search was prompted by evidence.",))
    known = relations.judged(asked.counted, told_limits)
    told = {name: figure or 0 for name, figure in one(relations.added(known)).items()}
    table = tuple(
        (
            modality,
            told[f"{modality}_spoke"],
            told[f"{modality}_prompts"],
            share(told[f"{modality}_finds"], told[f"{modality}_searched"]),
            told[f"{modality}_finds"],
            told[f"{modality}_prevented"],
        )
        for modality in MODALITIES
    )
    lowest, highest = (end(group["threshold"] for group in limits) for end in (min, max))
    reached = f"{lowest:.3f}" if lowest == highest else f"{lowest:.3f} to {highest:.3f}, by lane and configuration"
    notes = (
        f"A prompt or find is a modality's own where the sum of contributions reaches {reached} only with it: the"
        " smallest sum at which evidence prompted a search.",
        "Prevented: the sum without it would have reached that, and no search was prompted.",
        "Of finds only those that were searched are known: what a modality would have found alone is not in it.",
    )
    columns = ("modality", "measured", "own prompts", "yield of own prompts", "own finds", "prompts prevented")
    return Section("modalities", title, columns, table, notes)


def availability(asked: Asked) -> Section:
    """How often each modality spoke, and why not."""
    table: list[tuple[Cell, ...]] = []
    rates: list[Rate] = []
    every = rows(relations.states(asked.counted))
    for modality in MODALITIES:
        groups = [group for group in every if group["modality"] == modality]
        spoke = next((part(group) for group in groups if group["state"] == "measured"), None)
        rates.append(spoke or share(0, groups[0]["of"] if groups else 0))
        table.append((modality, "measured", "", rates[-1]))
        silent = [group for group in groups if group["state"] != "measured"]
        table += [(modality, group["state"], group["cause"], part(group)) for group in silent[:MOST_CAUSES]]
        if rest := sum(group["x"] for group in silent[MOST_CAUSES:]):
            table.append((modality, "not", f"{len(silent) - MOST_CAUSES} other causes, vehicles", rest))
    chart = rate_chart("Measured, of vehicles", MODALITIES, rates)
    notes = ("Out of vehicles with a verdict. Figures in causes are replaced by #.",)
    columns = ("modality", "state", "cause", "vehicles")
    return Section("availability", "What could be measured", columns, tuple(table), notes, (chart,))

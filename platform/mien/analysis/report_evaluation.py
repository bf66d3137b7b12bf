"""What `mien evaluate` found, as a section: every measure with its interval, or why there is none."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from mien.analysis import evaluation_claims, report_documents, style
from mien.analysis.evaluation_claims import CLAIMS, EvaluationClaimsConfig
from mien.analysis.report_blocks import Block, Cell, Facts, Figure, Missing, Note, Section, Table
from mien.errors import DatasetError, MienError
from mien.evaluation.report import HEADLINES, TITLES
from mien.storage.uri import Store

JSON, FIGURE = "evaluation.json", "evaluation.png"

_SCORES = ("tokens", "baseline", "shuffled")
_OTHERS = {
    "generation": "Made images against true ones",
    "inception": "Made images against true ones: FID and KID",
    "bridging": "From one modality to the other",
}
_VERDICTS = {"yes": "holds", "no": "does not hold", "open": "not distinguishable"}
_ABOUT = ("objective", "step", "weights", "checkpoint", "dataset", "patch_tokens", "modality", "network")


def section(store: Store, title: str, folder: str) -> Section:
    """The report of one model.

    Args:
        store: Where `mien evaluate` wrote.
        title: Of the section.
        folder: Where its document will lie beside the page.

    Raises:
        DatasetError: Its document is damaged.
        StorageError: It cannot be read.
    """
    document, raw = report_documents.read(store, JSON), f"{folder}/{JSON}"
    return Section(title, tuple(_blocks(store, document, raw)), headlines(document), {raw: document})


def headlines(document: Mapping[str, Any]) -> dict[str, Cell]:
    """The most important numbers of the document; a measure that there is not, says why once."""
    found = dict[str, Cell]()
    for label, (name, path) in HEADLINES.items():
        value = document.get(name)
        if isinstance(value, Mapping) and "not_measurable" in value:
            found[name] = report_documents.cell_of(value)
            continue
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            found[label] = report_documents.cell_of(value)
    return found


def _blocks(store: Store, document: Mapping[str, Any], raw: str) -> Iterator[Block]:
    about = {name: document[name] for name in _ABOUT if isinstance(document.get(name), str | int | float)}
    yield Facts({name.replace("_", " "): value for name, value in about.items()})
    yield from (Note(str(note), is_warning=True) for note in document.get("notes", []))
    yield _figure(store, document, raw)
    yield from _claims(document, raw)
    for name, title in {**TITLES, **_OTHERS}.items():
        if name in document:
            yield from _measure(document[name], title, raw)
    yield from _each_blendshape(document, raw)


def _figure(store: Store, document: Mapping[str, Any], raw: str) -> Block:
    """The figure of the evaluation, told by its headlines."""
    told = "; ".join(
        f"{name} {cell}" for name, cell in headlines(document).items() if not isinstance(cell, str | int | None)
    )
    words = f"Each measure beside what it is to be held against, with intervals: {told or 'none'}."
    try:
        return Figure("All measures", store.read(FIGURE), words, raw=raw)
    except (MienError, ValueError) as error:
        return Missing("The figure of all measures", str(error))


def _claims(document: Mapping[str, Any], raw: str) -> Iterator[Block]:
    """What is claimed of a model with tokens, and whether its intervals bear that out."""
    try:
        drawn = evaluation_claims.draw({"model": document}, EvaluationClaimsConfig())
    except DatasetError:  # of a model without tokens
        return
    claims = [claim for of_panel in CLAIMS.values() for claim in of_panel]
    rows = [(claim.says, *evaluation_claims.judged(document, claim)) for claim in claims]
    counts = Counter(verdict for _, _, verdict in rows)
    words = f"{len(rows)} claims: {counts['yes']} hold, {counts['no']} do not, {counts['open']} cannot be told."
    told = tuple((says, found, _VERDICTS[verdict]) for says, found, verdict in rows)
    yield Figure("Claims", style.png(drawn), words, (Table(words, ("Claim", "Number", "Verdict"), told, raw=raw),), raw)


def _measure(found: Any, title: str, raw: str) -> Iterator[Block]:
    if isinstance(found, Mapping) and "not_measurable" in found:
        yield Missing(title, str(found["not_measurable"]))
        return
    plain = {name: value for name, value in found.items() if not isinstance(value, list)}
    yield from report_documents.tables(_without_lists(plain), title, raw)


def _without_lists(value: Any) -> Any:
    """Their numbers have no names here."""
    if not isinstance(value, Mapping):
        return value
    return {name: _without_lists(inner) for name, inner in value.items() if not isinstance(inner, list)}


def _each_blendshape(document: Mapping[str, Any], raw: str) -> Iterator[Block]:
    """R² of each blendshape that varied, from tokens and from what they are held against."""
    probe, names = document.get("probe"), document.get("blendshapes")
    if not isinstance(probe, Mapping) or "varied" not in probe or not names:
        return
    columns = [[report_documents.cell_of(one) for one in probe[score]["per_blendshape"]] for score in _SCORES]
    rows = zip((names[column] for column in probe["varied"]), *columns, strict=True)
    yield Table("R² of each blendshape", ("Blendshape", "Tokens", "Baseline", "Shuffled"), tuple(rows), True, raw)
    left_out = ", ".join(names[column] for column in probe["left_out"]) or "none"
    yield Note(f"Left out, for they hardly vary: {left_out}.")

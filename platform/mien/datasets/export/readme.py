"""README.md of an export: what is in it, what may be done with it, where it comes from."""

from collections.abc import Mapping
from typing import Any

import yaml

from mien.datasets.card import facts_in_words, in_code
from mien.datasets.dataset import Dataset
from mien.datasets.export.kind import Total
from mien.datasets.export.record import origin

_TEMPLATE = """---
{header}---

# {title}

{num_samples} samples (face tracks) with {num_frames} frames. {what}

## People, consent, licence

- Licence of the sources: {licence}
- Consent: {consent}
- Redistributable: {redistributable}
- Face crops, landmarks and feature vectors are personal data. Keep them where the sources may be kept. When somebody
  is removed from the dataset (`mien forget`), make this export again or delete it.

## Where it comes from

- Dataset: {dataset} of {made_by}, config fingerprint `{fingerprint}`
- Source: {source}
{models}
{warning}"""


def readme(dataset: Dataset, total: Total, what: str, header: Mapping[str, Any] | None = None) -> bytes:
    """The Markdown, with a header as the Hugging Face hub reads it.

    Args:
        dataset: Whose card says licence, consent and origin.
        total: What is in the export.
        what: What the files are and what was left out, in sentences.
        header: More keys of the header.
    """
    facts = origin(dataset)
    licence = "other" if facts["licence"] == "unknown" else facts["licence"]
    top = {"license": licence, "pretty_name": facts["title"], "tags": ["face", "video", "mien"], **(header or {})}
    models = facts["models"].items()
    is_random = any(model.get("weights") == "random" for _, model in models)
    return _TEMPLATE.format(
        header=yaml.safe_dump(top, sort_keys=False, allow_unicode=True),
        what=what,
        dataset=in_code(dataset.uri),
        source=in_code(facts.pop("source")),
        models="\n".join(f"- Model `{name}`: {facts_in_words(model)}" for name, model in models),
        warning="\n**The features come from a network with random weights. They mean nothing.**\n" if is_random else "",
        **total._asdict(),
        **{key: facts[key] for key in ("title", "licence", "consent", "redistributable", "made_by", "fingerprint")},
    ).encode()

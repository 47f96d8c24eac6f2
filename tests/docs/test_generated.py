"""The pages that are generated are what the commands write now."""

from __future__ import annotations

import pytest

from evaluation.__main__ import main
from tests.conftest import ROOT


@pytest.mark.slow
def test_the_published_networks_card(published_weights, monkeypatch, tmp_path):
    """If not: python -m evaluation card --weights published --results docs/results
    --output docs/model-card.md"""
    monkeypatch.setenv("KERAS_HOME", str(published_weights.parents[1]))
    page = tmp_path / "model-card.md"
    results = str(ROOT / "docs" / "results")
    assert (
        main(["card", "--weights", "published", "--results", results, "--output", str(page)]) == 0
    )
    assert page.read_text("utf-8") == (ROOT / "docs" / "model-card.md").read_text("utf-8")

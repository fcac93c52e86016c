"""The file and the table of the cluster's figures."""

from __future__ import annotations

from experiments.bench.cluster import FIGURES, to_markdown, to_result

DETAILS = {
    "vllm_loop_vs_bare": {"missing": "vllm is not installed: `make setup-vllm`"},
    "async_vs_lockstep": {"async_vs_lockstep": 1.4, "seed": 0},
    "weight_push_s": {"weight_push_s": 0.7},
}


def test_figures_stand_at_the_top_and_what_is_missing_is_null() -> None:
    result = to_result(DETAILS, load=1.5)
    assert {name: result[name] for name in FIGURES} == {
        "vllm_loop_vs_bare": None,
        "async_vs_lockstep": 1.4,
        "weight_push_s": 0.7,
        "scaling_efficiency_8": None,
    }
    assert result["details"] == DETAILS
    assert result["machine"]["load_before"] == 1.5
    assert result["machine"]["torch"]


def test_the_table_says_what_met_its_goal_and_what_was_not_measured() -> None:
    rows = {
        line.split("`")[1]: line
        for line in to_markdown(to_result(DETAILS, load=0.0)).splitlines()
        if line.startswith("| `")
    }
    assert "not measured: vllm is not installed" in rows["vllm_loop_vs_bare"]
    assert "| 1.4 | >= 1.5 | **missed** |" in rows["async_vs_lockstep"]
    assert "| 0.7 | <= 1 | met |" in rows["weight_push_s"]
    assert "not measured: not run" in rows["scaling_efficiency_8"]


def test_every_goal_has_a_side() -> None:
    assert FIGURES["scaling_efficiency_8"].is_met(0.95)
    assert not FIGURES["scaling_efficiency_8"].is_met(0.85)
    assert FIGURES["weight_push_s"].is_met(0.5)
    assert not FIGURES["weight_push_s"].is_met(1.5)

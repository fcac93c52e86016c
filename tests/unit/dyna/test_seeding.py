"""Seeds derived by name: stable, distinct, independent of order of use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dyna.seeding import derive_seed, generator

NAMES = st.lists(st.one_of(st.text(max_size=8), st.integers()), max_size=4)


@given(seed=st.integers(min_value=0, max_value=2**63 - 1), names=NAMES)
def test_a_derived_seed_is_a_function_of_seed_and_names(seed: int, names: list[str | int]) -> None:
    derived = derive_seed(seed, *names)
    assert derived == derive_seed(seed, *names)
    assert 0 <= derived < 2**63


def test_a_derived_seed_is_the_same_on_every_machine() -> None:
    assert derive_seed(0) == 4761921975702974394
    assert derive_seed(7, "rollout", 3) == 3888120505135008806


def test_every_name_and_its_place_matters() -> None:
    seeds = {
        derive_seed(0, "a", "b"),
        derive_seed(0, "b", "a"),
        derive_seed(0, "ab"),
        derive_seed(0, "a"),
        derive_seed(1, "a", "b"),
        derive_seed(0, "a", 1),
        derive_seed(0, "a", 11),
        derive_seed(0, "a", 1, 1),
    }
    assert len(seeds) == 8


def test_many_names_do_not_collide() -> None:
    assert len({derive_seed(0, "episode", index) for index in range(20_000)}) == 20_000


def test_generators_of_one_name_draw_the_same_numbers() -> None:
    first, second = generator(3, "x"), generator(3, "x")
    generator(3, "y").random(100)
    assert first.random(5).tolist() == second.random(5).tolist()
    assert first.random() != generator(3, "y").random()

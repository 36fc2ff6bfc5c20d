"""Recipes in YAML map one-to-one to the dataclasses; what is wrong is named with its line."""

from pathlib import Path

import pytest

import gossamer as gs
from gossamer.errors import RecipeError
from gossamer.numerics import Density, Random
from gossamer.prune import Global, StdThreshold
from gossamer.recipe import Even
from gossamer.recipe_file import dump_recipe, load_recipe, parse_recipe
from gossamer.train import L1, L2, Adam, Cosine, EarlyStopping

WHOLE = """
- Repeat:
    times: 3
    ramp: Even
    passes:
      - Prune: {amount: 0.9, allocate: Global, overrides: {fc3: 0.5}}
      - Finetune:
          epochs: 2
          optimizer: {Adam: {lr: 1e-3}}
          schedule: Cosine
          penalties: [{L1: {strength: 1e-5}}, {L2: {strength: 0.0001}}]
          early_stopping: {EarlyStopping: {patience: 2}}
- Cluster: {bits: 4, start: {Random: {seed: 3}}, overrides: {"conv*": 8}}
- Finetune: {epochs: 1}
"""

RECIPE = [
    gs.Repeat(
        3,
        [
            gs.Prune(0.9, allocate=Global(), overrides={"fc3": 0.5}),
            gs.Finetune(
                epochs=2,
                optimizer=Adam(lr=1e-3),
                schedule=Cosine(),
                penalties=(L1(1e-5), L2(1e-4)),
                early_stopping=EarlyStopping(patience=2),
            ),
        ],
        ramp=Even(),
    ),
    gs.Cluster(bits=4, start=Random(seed=3), overrides={"conv*": 8}),
    gs.Finetune(epochs=1),
]


def test_a_file_is_the_dataclasses(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(WHOLE)
    assert load_recipe(path) == RECIPE


def test_what_is_dumped_is_read_back():
    assert parse_recipe(dump_recipe(RECIPE)) == RECIPE


def test_names_alone_are_objects():
    assert parse_recipe("- Prune: {amount: 1.5, granularity: Elements, allocate: StdThreshold}") == [
        gs.Prune(1.5, granularity=gs.Elements(), allocate=StdThreshold())
    ]
    assert parse_recipe("- Cluster: {start: Density}") == [gs.Cluster(start=Density())]
    assert parse_recipe("- Cluster") == [gs.Cluster()]


BAD = {
    "not a list": ("Prune: {amount: 0.9}", "r:1: a recipe is a list of passes"),
    "empty": ("", "r:1: a recipe is a list of passes"),
    "not yaml": ("- Prune: {amount: 0.9\n- [", "not YAML"),
    "unknown pass": (
        "- Cluster\n- Prone: {amount: 0.5}",
        "r:2: no Pass is called 'Prone'; did you mean Prune?",
    ),
    "unknown field": ("- Prune:\n    amount: 0.5\n    sparsity: 1", "r:3: Prune has no field 'sparsity'"),
    "missing field": ("\n- Prune", "r:2: Prune needs amount"),
    "twice": ("- Cluster: {bits: 3, bits: 4}", "bits is given twice"),
    "wrong type": ("- Cluster:\n    bits: many", "r:2: Cluster.bits is 'many'"),
    "out of range": ("- Cluster\n- Prune: {amount: 1.5}", "r:2: Prune: amount is 1.5"),
    "unknown part": (
        "- Prune:\n    amount: 0.5\n    allocate: Globl",
        "r:3: no Allocation is called 'Globl'; did you mean Global?",
    ),
    "two names": ("- {Prune: {amount: 0.5}, Cluster: {}}", "r:1: expected one Pass"),
    "a number": ("- 3", "no Pass is called '3'"),
    "inside repeat": (
        "- Repeat:\n    times: 2\n    passes:\n      - Prune: {amount: x}",
        "r:4: Prune.amount is 'x'",
    ),
    "one pass where a list is due": (
        "- Repeat:\n    times: 2\n    passes: {Prune: {amount: 0.5}}",
        "r:3: Repeat.passes is a list",
    ),
    "a pass in itself": ("- &a {Repeat: {times: 2, passes: [*a]}}", "r: a pass contains itself"),
    "python object": ("- Prune: {amount: !!python/object:os.system 1}", "r:1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named_with_its_line(case):
    text, message = BAD[case]
    with pytest.raises(RecipeError) as error:
        parse_recipe(text, "r")
    assert message in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match="nowhere.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")


def test_a_recipe_holds_passes():
    with pytest.raises(RecipeError, match="number 2 is 'Prune'"):
        gs.Repeat(2, [gs.Prune(0.5), "Prune"])
    with pytest.raises(RecipeError, match="passes is empty"):
        gs.Repeat(2, [])
    with pytest.raises(RecipeError, match="times is 0"):
        gs.Repeat(0, [gs.Prune(0.5)])


RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_recipes_of_the_repository_can_be_read(path):
    assert RECIPES
    recipe = gs.load_recipe(path)
    assert parse_recipe(dump_recipe(recipe)) == recipe

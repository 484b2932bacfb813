"""The mechanism behind every command's options: one declaration, three sources, one validation."""

import dataclasses
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from annotated_types import Ge
from typer.testing import CliRunner

from gnvpro.apps import settings
from gnvpro.apps.commands.train import TrainOptions
from gnvpro.training.train import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Options:
    source: Annotated[Path, typer.Argument(help="Where from.")]
    count: Annotated[int, typer.Option("--count", "-c", help="How many."), Ge(1)] = 3
    kind: Annotated[Literal["a", "b"], typer.Option("--kind", help="Which.")] = "a"
    widths: Annotated[tuple[int, ...] | None, typer.Option("--widths", help="Sizes."), settings.Comma] = None
    set: Annotated[dict[str, Any] | None, typer.Option("--set", help="Others."), settings.Assignments] = None


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('source = "there"\ncount = 5\nwidths = [4, 6]\n')
    return path


def test_the_command_line_beats_the_file_and_the_file_the_defaults(file):
    resolved = settings.resolve(Options, {"count": 7}, file)
    assert resolved == Options(source=Path("there"), count=7, kind="a", widths=(4, 6))


def test_a_list_is_one_word_on_the_command_line():
    assert settings.resolve(Options, {"source": "x", "widths": "9,24"}, None).widths == (9, 24)


def test_written_settings_are_read_back(tmp_path):
    given = Options(source=Path("x"), widths=(2, 3))
    (tmp_path / "settings.json").write_text(json.dumps(settings.to_dict(given)))
    assert settings.resolve(Options, {}, tmp_path / "settings.json") == given


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("coutn = 3", r"unknown key 'coutn'; did you mean count\?"),
        ("speed = 3", r"unknown key 'speed'; the keys are source, count, kind, widths, set"),
        ("source = 'x'\ncount = 0", r"count in .*: expected greater than or equal to 1; got 0"),
        ("source = 'x'\nkind = 'c'", r"kind in .*: expected 'a' or 'b'; got 'c'"),
        ("source = 'x'\nwidths = '4,x'", r"widths in .*: expected a valid integer"),
        ("count = ", "is not TOML"),
        ("count = 4", "source is missing"),
    ],
)
def test_a_wrong_file_is_answered_in_words(tmp_path, text, message):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        settings.resolve(Options, {}, path)


def test_only_what_was_typed_counts_as_typed():
    app, seen = typer.Typer(), []

    def entry(context: typer.Context, **_):
        seen.append(settings.typed_by_user(context, Options))

    parameters = settings.signature(Options)
    context = parameters[0].replace(name="context", annotation=typer.Context, default=parameters[0].empty)
    entry.__signature__ = inspect.Signature([*parameters, context])
    entry.__annotations__ = {p.name: p.annotation for p in [*parameters, context]}
    app.command()(entry)
    result = CliRunner().invoke(app, ["here", "-c", "3"])
    assert result.exit_code == 0, result.output
    assert seen == [{"source": Path("here"), "count": 3}]
    CliRunner().invoke(app, ["here", "--set", "a=1", "--set", "b=2"])
    assert seen[1] == {"source": Path("here"), "set": ["a=1", "b=2"]}


def test_assignments_nest_and_their_values_are_json_or_text(tmp_path):
    typed = ["settings.steps=160", "tier=reduced", "settings.table.upper=4e2", "on=true", "at=[[0, 1]]", "t=a=b"]
    nested = {
        "settings": {"steps": 160, "table": {"upper": 400.0}},
        "tier": "reduced",
        "on": True,
        "at": [[0, 1]],
        "t": "a=b",
    }
    assert settings.resolve(Options, {"source": "x", "set": typed}, None).set == nested
    path = tmp_path / "settings.toml"
    path.write_text('source = "x"\n[set]\ntier = "reduced"\nsettings.steps = 160\n')
    assert settings.resolve(Options, {}, path).set == {"tier": "reduced", "settings": {"steps": 160}}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["steps"], r"set: expected name=value, or group.name=value \('steps' is neither\)"),
        (["=3"], "'=3' is neither"),
        (["a..b=3"], "'a..b=3' is neither"),
        (["a=1", "a=2"], "every option once \\('a' is there twice"),
        (["a=1", "a.b=2"], "'a.b' is there twice, or is a group and a value"),
        (["a.b=1", "a=2"], "'a' is there twice, or is a group and a value"),
    ],
)
def test_wrong_assignments_are_said(typed, message):
    with pytest.raises(ValueError, match=message):
        settings.resolve(Options, {"source": "x", "set": typed}, None)


def test_train_options_repeat_the_settings_of_training_exactly():
    mine = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
    for field in dataclasses.fields(TrainSettings):
        assert mine[field.name] == field.default, field.name

"""The mechanism behind every command's options: one declaration, three sources, one validation."""

import dataclasses
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import typer
import typer.main
from annotated_doc import Doc
from annotated_types import Ge, Gt
from typer.testing import CliRunner

from gnvpro.apps import settings
from gnvpro.apps.commands.segment import SegmentOptions
from gnvpro.apps.commands.train import TrainOptions
from gnvpro.surrogate.errors import UsageError
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Options:
    source: Annotated[Path, typer.Argument(help="Where from.")]
    count: Annotated[int, typer.Option("--count", "-c", help="How many."), Ge(1)] = 3
    kind: Annotated[Literal["a", "b"], typer.Option("--kind", help="Which.")] = "a"
    widths: Annotated[tuple[int, ...] | None, typer.Option("--widths", help="Sizes.")] = None
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


def app_of(options, seen):
    """A command line of one command, which only notes what was typed."""

    def entry(context: typer.Context, **_):
        seen.append(settings.typed_by_user(context, options))

    parameters = settings.signature(options)
    context = parameters[0].replace(name="context", annotation=typer.Context, default=parameters[0].empty)
    entry.__signature__ = inspect.Signature([*parameters, context])
    entry.__annotations__ = {p.name: p.annotation for p in [*parameters, context]}
    app = typer.Typer(add_completion=False)
    app.command()(entry)
    return app


def test_only_what_was_typed_counts_as_typed():
    seen = []
    app = app_of(Options, seen)
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


@dataclass(frozen=True)
class Smoothing:
    """Settings of something that knows nothing of a command line."""

    alpha_w: Annotated[float | None, Doc("How smooth."), Gt(0)] = None
    seed: Annotated[int, Doc("Where from."), Ge(0)] = 0
    widths: Annotated[tuple[int, ...], Doc("Sizes.")] = (4, 6)
    inner: Annotated[int, Doc("Nobody's business.")] = 1

    def __post_init__(self):
        if self.alpha_w is not None and self.seed > 5:
            raise ValueError("either alpha_w or a large seed")


@dataclass(frozen=True, kw_only=True)
class SmoothingOptions(Smoothing):
    source: Annotated[Path, typer.Argument(help="Where from.")]

    METAVARS: ClassVar = {"widths": "4,6"}
    NOT_OFFERED: ClassVar = ("inner",)


def test_inherited_settings_become_options_by_their_names_after_the_command_s_own():
    shown = {p.name: p for p in typer.main.get_command(app_of(SmoothingOptions, [])).params}
    assert list(shown) == ["source", "alpha_w", "seed", "widths"]
    assert [shown[name].opts for name in ("alpha_w", "seed")] == [["--alpha-w"], ["--seed", "-s"]]
    assert (shown["alpha_w"].help, shown["widths"].metavar) == ("How smooth.", "4,6")
    given = settings.resolve(SmoothingOptions, {"source": "x", "widths": "9,24", "alpha_w": "1e-3"}, None)
    assert (given.alpha_w, given.widths, given.inner) == (1e-3, (9, 24), 1)
    assert list(settings.to_dict(given)) == ["source", "alpha_w", "seed", "widths"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha_w": 0}, "alpha_w: expected greater than 0; got 0"),
        ({"alpha_w": 1, "seed": 6}, "^either alpha_w or a large seed$"),
    ],
)
def test_inherited_settings_are_checked_alone_and_together(given, message):
    with pytest.raises(ValueError, match=message):
        settings.resolve(SmoothingOptions, {"source": "x", **given}, None)


def test_a_field_that_is_not_offered_is_no_key_of_a_file(tmp_path):
    (tmp_path / "settings.toml").write_text("inner = 3")
    with pytest.raises(ValueError, match="unknown key 'inner'"):
        settings.resolve(SmoothingOptions, {"source": "x"}, tmp_path / "settings.toml")


def test_the_command_that_makes_the_same_again_leaves_defaults_out():
    given = SmoothingOptions(source=Path("my cube"), alpha_w=0.5, widths=(9, 24))
    assert settings.command_line("smooth", given) == "gnvpro smooth 'my cube' --alpha-w 0.5 --widths 9,24"
    assert settings.command_line("x", Options(source=Path("s"), set={"a": [0, 1], "b": 2})) == (
        "gnvpro x s --set 'a=[0, 1]' --set b=2"
    )


@pytest.mark.parametrize(("options", "base"), [(TrainOptions, TrainSettings), (SegmentOptions, ClassSettings)])
def test_commands_state_no_setting_of_training_again(options, base):
    own = set(inspect.get_annotations(options))
    assert not own & {field.name for field in dataclasses.fields(base)}


def test_a_file_that_is_nested_too_deep_is_refused(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is not JSON"):
        settings.resolve(Options, {}, tmp_path / "deep.json")


def test_what_is_written_of_settings_tells_nothing_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"a": tmp_path / "runs" / "m", "b": ("/else/where.mat:cube", "x/y", 3), "url": "http://host:1/m", "n": None}
    assert settings.portable(given) == {
        "a": "runs/m", "b": ["where.mat:cube", "x/y", 3], "url": "http://host:1/m", "n": None
    }  # fmt: skip
    options = SmoothingOptions(source=Path("/else/where.mat"))
    assert settings.to_dict(options)["source"] == "where.mat"
    assert settings.command_line("smooth", options) == "gnvpro smooth where.mat"


@pytest.mark.parametrize(
    "text", ['{"seed": %s}' % ("9" * 5000), '{"seed": 1%s}' % ("0" * 4000), '{"widths": [9223372036854775808]}']
)
def test_integers_that_nothing_can_count_are_refused(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(UsageError, match=r"4300 digits|below 2\*\*63") as refused:
        settings.resolve(SmoothingOptions, {"source": "x"}, tmp_path / "settings.json")
    assert len(str(refused.value)) < 300
    (tmp_path / "settings.toml").write_text("seed = 0x" + "f" * 5000)
    with pytest.raises(UsageError, match=r"below 2\*\*63, got an integer of 20000 bits"):
        settings.resolve(SmoothingOptions, {"source": "x"}, tmp_path / "settings.toml")
    with pytest.raises(UsageError, match="an integer of fewer digits"):
        settings.resolve(Options, {"source": "x", "set": ["n=" + "9" * 5000]}, None)

"""Files and folders are written whole or not at all, readable as the umask says, and refused before the work."""

import os
import resource
import stat
from pathlib import Path

import pytest

from gnvpro.surrogate import writing
from gnvpro.surrogate.writing import require_new_folder, require_writable, whole_file, whole_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["exchange", "two moves"])
def moves(request, monkeypatch):
    """Both ways to put a folder in the place of another."""
    if request.param == "two moves":
        monkeypatch.setattr(writing.sys, "platform", "somewhere else")


def test_a_folder_that_fails_leaves_nothing_and_one_that_succeeds_all(tmp_path):
    with pytest.raises(UnicodeEncodeError), whole_folder(tmp_path / "new") as folder:
        (folder / "first").write_text("written, \udc80 not", encoding="utf-8")
    assert names(tmp_path) == []
    with whole_folder(tmp_path / "deep" / "new") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "first").write_text("written")
        assert not (tmp_path / "deep" / "new").exists()
    assert (tmp_path / "deep" / "new" / "inner" / "first").read_text() == "written"
    assert names(tmp_path / "deep") == ["new"]


def test_a_folder_replaces_another_only_where_asked(tmp_path, moves):
    place = tmp_path / "new"
    place.mkdir()
    (place / "old").write_text("old")
    with pytest.raises(OSError, match="not empty"), whole_folder(place):
        pass
    assert names(place) == ["old"]
    with whole_folder(place, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert names(place) == ["new"]
    assert names(tmp_path) == ["new"]


def test_links_are_followed_also_to_where_nothing_is(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "target")
    for content in ("first", "second"):
        with whole_folder(tmp_path / "link", overwrite=True) as folder:
            (folder / "file").write_text(content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "elsewhere" / "target" / "file").read_text() == content
    (tmp_path / "other").symlink_to(tmp_path / "elsewhere" / "file")
    with whole_file(tmp_path / "other") as file:
        file.write_text("content")
    assert (tmp_path / "elsewhere" / "file").read_text() == "content"
    assert (tmp_path / "other").is_symlink()


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_modes_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        with whole_folder(tmp_path / "folder") as folder:
            (folder / "file").write_text("")
        with whole_file(tmp_path / "file") as file:
            file.write_text("")
    finally:
        os.umask(before)
    mode = {path: stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("folder", "folder/file", "file")}
    assert mode == {"folder": 0o777 & ~mask, "folder/file": 0o666 & ~mask, "file": 0o666 & ~mask}


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    with whole_folder(tmp_path / ("ü" * 127)) as folder:
        (folder / "file").write_text("")
    assert names(tmp_path) == ["ü" * 127]


def test_places_that_cannot_be_written_are_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    require_writable(tmp_path / "a" / "b" / "c")
    require_writable(tmp_path / "file")
    with pytest.raises(NotADirectoryError, match="file is a file; choose another place"):
        require_writable(tmp_path / "file" / "deep" / "out")
    with pytest.raises(FileExistsError, match="choose a new one inside it"):
        require_writable(Path("/"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileExistsError, match="choose a new one inside it"):
        require_writable(Path("."))
    monkeypatch.setattr(writing.os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(PermissionError, match="may not be written to; choose another place"):
        require_writable(tmp_path / "a" / "b")


def test_a_new_folder_is_one_where_nothing_stands(tmp_path):
    require_new_folder(None, "study")
    (tmp_path / "empty").mkdir()
    require_new_folder(tmp_path / "empty", "study")
    (tmp_path / "empty" / "file").write_text("")
    for place in (tmp_path / "empty", tmp_path / "empty" / "file"):
        with pytest.raises(FileExistsError, match="exists already; choose another place for the study"):
            require_new_folder(place, "study")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FileExistsError, match="a link that leads to itself"):
        require_new_folder(tmp_path / "loop", "study")


def test_a_disk_that_is_full_is_an_error_that_names_the_place(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as failed, whole_folder(tmp_path / "new") as folder:
            (folder / "file").write_bytes(bytes(2000))
        with pytest.raises(OSError, match="File too large"), whole_file(tmp_path / "other") as file:
            file.write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failed.value.filename == str(tmp_path / "new")
    assert names(tmp_path) == []

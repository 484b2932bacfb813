"""What builds the site: links that are followed, formulas, scratch folders of examples, and pages that are found."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import PROJECT

pytest.importorskip("sphinx", reason="the extra docs is not installed")
DOCS = PROJECT / "docs"
sys.path.insert(0, str(DOCS / "_extensions"))

import gallery_order  # noqa: E402
import scratch_folders  # noqa: E402

CHECK = DOCS / "check_site.py"
GOOD = '<html><body><h1 id="a">A</h1><a href="b.html#c">b</a><a href="#a">a</a><img src="p.png" alt="p"></body></html>'


TREE = "\n```{toctree}\nclients/README\n```\n"


def checked(folder, **pages):
    """What the check says of a site of these pages, and its exit code."""
    folder.mkdir()
    (folder / "p.png").write_bytes(b"")
    (folder / "b.html").write_text('<p id="c">C</p>')
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text)
    ran = subprocess.run([sys.executable, CHECK, folder], capture_output=True, text=True)
    assert not ran.stderr
    return ran.stdout, ran.returncode


def test_a_site_without_faults_passes_and_other_sites_are_listed(tmp_path):
    said, code = checked(tmp_path / "site", index=GOOD.replace("</body>", '<a href="https://example.org/x">x</a>'))
    assert code == 0
    assert "https://example.org/x" in said
    assert "2 pages, 4 links, 0 broken" in said


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("b.html#c", "d.html", "index.html: no such file: d.html"),
        ("b.html#c", "b.html#d", "index.html: no such anchor: b.html#d"),
        ("#a", "#z", "index.html: no such anchor: #z"),
        ("p.png", "q.png", "index.html: no such file: q.png"),
        ("b.html#c", ".", "index.html: no such file: ."),  # a folder: from a disk nobody finds its index
        ("b.html#c", "../x.html", "index.html: leaves the site: ../x.html"),
        (' alt="p"', "", "index.html: no alternative text: p.png"),
        ("p.png", "https://example.org/p.png", "index.html: needs the network: https://example.org/p.png"),
    ],
)
def test_what_is_broken_is_named(tmp_path, right, wrong, said):
    assert right in GOOD
    printed, code = checked(tmp_path / "site", index=GOOD.replace(right, wrong))
    assert code == 1
    assert said in printed
    assert "1 broken" in printed


def test_a_folder_without_pages_does_not_pass(tmp_path):
    (tmp_path / "empty").mkdir()
    assert subprocess.run([sys.executable, CHECK, tmp_path / "empty"], capture_output=True).returncode == 1


def build(folder, text):
    """The HTML of one Markdown page, with the extensions of the site; and what Sphinx warns of."""
    source, out = folder / "source", folder / "html"
    source.mkdir()
    (source / "index.md").write_text(text)
    (source / "clients").mkdir()
    (source / "clients" / "README.md").write_text("# Scripts")
    lines = [
        f"import sys; sys.path.insert(0, {str(DOCS / '_extensions')!r})",
        "extensions = ['myst_parser', 'mathml', 'repository_links']",
        "myst_enable_extensions = ['dollarmath']",
        "myst_heading_anchors = 3",
    ]
    (source / "conf.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", source, out]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert ran.returncode == 0, ran.stderr
    return (out / "index.html").read_text(), ran.stderr


def test_formulas_are_mathml_and_links_lead_to_pages(tmp_path):
    text = "# Page\n\nA $\\tfrac{\\nu+1}{2}$.\n\n$$\\min_s |Rs + q|^2$$\n\n[scripts](clients)\n"
    html, warned = build(tmp_path, text + TREE)
    assert "MathML" not in warned
    assert html.count("<math") == 2
    assert 'display="block"' in html
    assert "<mfrac" in html
    assert not re.findall(r'src="[^"]*[Mm]ath[^"]*"', html)  # no script lays it out
    assert 'href="clients/README.html"' in html


def test_a_formula_that_nobody_can_read_is_a_warning(tmp_path):
    _, warned = build(tmp_path, "# Page\n\n$\\nosuchcommand{x}$\n" + TREE)
    assert "formula that cannot be converted to MathML" in warned
    assert "nosuchcommand" in warned


def test_an_example_runs_in_an_empty_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"src_dir": str(tmp_path)}
    run = scratch_folders.InScratchFolder()

    def block():
        Path("runs").mkdir()  # fails where one is there
        return Path.cwd()

    scratch_folders.enter(settings, "plot_a.py")
    memory, first = run(block)
    scratch_folders.enter(settings, None)  # a gallery begins: the example stays
    scratch_folders.enter(settings, "plot_b.py")
    _, second = run(block)
    scratch_folders.enter(settings, "plot_a.py")
    _, again = run(block)
    assert first == again != second
    assert first.is_relative_to(tmp_path / "_build")
    assert Path.cwd() == tmp_path
    assert 10 < memory < 1e5  # MiB of this process


def test_a_block_that_fails_leads_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scratch_folders.enter({"src_dir": str(tmp_path)}, "plot_a.py")
    with pytest.raises(ZeroDivisionError):
        scratch_folders.InScratchFolder()(lambda: 1 / 0)
    assert Path.cwd() == tmp_path


def test_every_example_has_its_place():
    written = {path.name for folder in ("examples", "concepts") for path in (DOCS / folder).glob("plot_*.py")}
    assert written
    assert written <= set(gallery_order.ORDER)
    places = [gallery_order.place(name) for name in sorted(written, key=gallery_order.place)]
    assert places == sorted(places)
    assert gallery_order.place("plot_unknown.py") > max(places)


def test_every_page_is_reached_from_a_page_of_sections():
    """How-to, results and about name all pages but those that stand at the top."""
    trees = [
        match
        for page in ("index", "how-to", "results", "about")
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
        for match in re.findall(r"^(?:.*<)?([\w/-]+)>?$", tree, re.MULTILINE)
    ]
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.glob("*.md")} - {"index"}
    assert pages <= set(trees)
    assert len(trees) == len(set(trees))


def test_the_interface_has_every_public_name():
    import gnvpro

    text = (DOCS / "api" / "index.md").read_text()
    assert set(re.findall(r"^   (\w+)$", text, re.MULTILINE)) == set(gnvpro.__all__)

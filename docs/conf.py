"""The documentation: `make docs` builds `docs/_build/html`, without a network, and takes every warning for an error."""

import os
import sys
import warnings
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))
# Processes that an example starts, and those that build examples in parallel, find the extensions too.
os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], *filter(None, [os.environ.get("PYTHONPATH")])])

from scratch_folders import InScratchFolder  # noqa: E402  of the folder just added

project = "gnvpro"
author = "the gnvpro developers"
copyright = "the gnvpro developers, MIT licence"
version = release = installed("gnvpro")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "repository_links",
]
exclude_patterns = [
    "_build",
    "_extensions",
    "_static",
    "_templates",
    "examples",
    "concepts",
    "clients/requirements*",
    "gallery/**/*.ipynb",
    "pictures/**/*.ipynb",
    "sg_execution_times.rst",
]
templates_path = ["_templates"]
nitpicky = True
# Types in signatures, and names in backquotes, that no page describes.
nitpick_ignore_regex = [(r"py:.*", r".*")]

# Markdown
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

# Interfaces
default_role = "autolink"
autosummary_generate = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
add_module_names = False

# With the network at hand, names of other libraries become links: GNVPRO_DOCS_ONLINE=1 make docs
if os.environ.get("GNVPRO_DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "xarray": ("https://docs.xarray.dev/en/stable", None),
    }

# Examples
GALLERIES = {"examples": "gallery", "concepts": "pictures"}
# Pages of examples that are gone would be pages that nothing leads to.
for source, pages in GALLERIES.items():
    for page in (HERE / pages).glob("plot_*.*"):
        if not (HERE / source / f"{page.name.split('.')[0]}.py").exists():
            page.unlink()
# What a figure warns of is looked at, and a deprecation of a library is not the reader's business.
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=PendingDeprecationWarning)
sphinx_gallery_conf = {
    "examples_dirs": [*GALLERIES],
    "gallery_dirs": [*GALLERIES.values()],
    "filename_pattern": r"[\\/]plot_",
    "within_subsection_order": "gallery_order.place",
    "plot_gallery": "True",
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "parallel": int(os.environ.get("GNVPRO_DOCS_PROCESSES", "2")),
    "reset_modules": ("matplotlib", "seaborn", "scratch_folders.enter"),
    "reset_modules_order": "before",
    "show_memory": InScratchFolder(),
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": True,
    "image_srcset": ["2x"],
    "remove_config_comments": True,
    "show_signature": False,
    "download_all_examples": False,
    "write_computation_times": False,
    "min_reported_time": 0,
    "line_numbers": False,
}

# The page around it
html_theme = "pydata_sphinx_theme"
html_title = "gnvpro"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc", "sg_download_links"],
    "footer_start": ["copyright"],
    "footer_center": [],
    "footer_end": ["sphinx-version"],
}
html_sidebars = {"index": [], "get-started": []}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

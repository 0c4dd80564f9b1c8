"""CITATION.cff says of the project what the project says of itself, and names both papers."""

import tomllib

import yaml

from indrnn.files import ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_keys_that_the_format_requires_are_there():
    assert CITATION["cff-version"] == "1.2.0"
    for what in (CITATION, *CITATION["references"]):
        assert {"type", "title", "authors"} <= set(what)
    assert CITATION["message"]


def test_it_agrees_with_the_project():
    assert (CITATION["version"], CITATION["license"]) == (PROJECT["version"], PROJECT["license"])
    assert (ROOT / "README.md").read_text().startswith(f"# {CITATION['title']}\n")
    (authors,) = CITATION["authors"]
    assert f" {authors['name']}\n" in (ROOT / "LICENSE").read_text()


def test_both_papers_are_named_as_the_readme_links_them():
    readme = (ROOT / "README.md").read_text()
    urls = [paper["url"] for paper in CITATION["references"]]
    assert len(urls) == 2 and all(f"]({url})" in readme for url in urls)
    assert "(CITATION.cff)" in readme

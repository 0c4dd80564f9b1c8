"""The published report page in a headless Chromium, opened as a file. Skipped, saying so, where there is none."""

from collections.abc import Iterator

import browser
import pytest
from made_up import make

from indrnn import files, report_page
from indrnn.tables import judged, page_tables, schema

pytestmark = pytest.mark.skipif(bool(browser.LACKS), reason=browser.LACKS)
REPORT = files.ROOT / "results/report/index.html"
WIDTHS = (390, 820, 1400)
SHOWN = "return [...document.querySelectorAll('article')].filter(x => !x.hidden).map(x => x.id)"
SEEN = "return [...document.querySelectorAll(arguments[0])].filter(x => x.checkVisibility()).map(x => x.textContent)"
SET = """
const field = document.getElementById(arguments[0]);
field.value = arguments[1];
field.dispatchEvent(new Event('input', {bubbles: true}));
"""
SCROLL = """
for (let y = 0; y < document.documentElement.scrollHeight; y += 800) {
  scrollTo(0, y);
  await new Promise(requestAnimationFrame);
}
const count = (words) => document.querySelectorAll(words).length;
for (let i = 0; i < 600 && count('canvas') < count('.panel'); i++) await new Promise(requestAnimationFrame);
"""
IN_SIGHT = """
const one = document.querySelector(arguments[0] + ' .panel');
one.scrollIntoView();
for (let i = 0; i < 600 && !one.querySelector('canvas'); i++) await new Promise(requestAnimationFrame);
"""
INK = """
const canvas = document.querySelector(arguments[0] + ' canvas');
const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
copy.drawImage(canvas, 0, 0);
const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
let sum = 0;
for (let i = 3; i < data.length; i += 4) sum += data[i] > 0;
return sum;
"""
FIGURE = "#fast-figure2_adding"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[browser.Page]:
    with browser.opened(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(chromium) -> browser.Page:
    """The report, as somebody opens it who has not been here; nothing may be wrong with it at the end."""
    chromium.size(1400)
    chromium.scheme("light")
    chromium.open(REPORT)
    chromium.run("localStorage.clear()")
    chromium.reload()
    chromium.log()
    yield chromium
    assert chromium.log() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_an_error_and_fits_every_width(page, scheme):
    page.scheme(scheme)
    for width in WIDTHS:
        page.size(width)
        page.run(SCROLL)  # which draws all curves
        wide = page.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide[0] <= wide[1], f"{width}: {wide}"
    drawn = page.run("return [document.querySelectorAll('.panel').length, document.querySelectorAll('canvas').length]")
    assert drawn[0] == drawn[1] > 30


def test_tables_are_filtered_by_profile_task_and_words(page):
    every = page.run(SHOWN)
    page.run(SET, "profile", "fast")
    assert page.run(SHOWN) == [name for name in every if name.startswith("fast-")] != []
    page.run(SET, "task", "pmnist")
    assert page.run(SHOWN) == ["fast-table1_mnist"]
    assert page.run(SEEN, "article .block h4") == ["pMNIST"]
    assert page.run(SEEN, "article .panel strong") == ["pMNIST"]
    assert page.run(SEEN, ".log h3") == ["Sequential and permuted MNIST"]
    assert page.run("return document.getElementById('shown').textContent") == f"1 of {len(every)} tables"
    page.run("document.querySelector('#filter button').click(); await new Promise(done => setTimeout(done))")
    assert page.run(SHOWN) == every
    page.run(SET, "words", "zoneout")
    rows = page.run(SEEN, "article .block tbody th, article .claims tbody th")
    assert rows and all("Zoneout" in row for row in rows)
    page.run(SET, "words", "no such words")
    assert page.run(SHOWN) == []


def test_a_link_to_a_table_that_is_filtered_out_shows_it(page):
    page.run(SET, "profile", "paper")
    page.run("location.hash = arguments[0]; await new Promise(done => addEventListener('hashchange', done))", FIGURE)
    assert FIGURE[1:] in page.run(SHOWN)
    top = page.run("return document.querySelector(arguments[0]).getBoundingClientRect().top", FIGURE)
    assert -10 < top < 300


def test_a_number_leads_to_its_record(page):
    page.run("document.querySelector('#fast-figure2_adding .runs a').click()")
    page.run(
        "for (let i = 0; i < 600 && !location.href.endsWith('json'); i++) await new Promise(requestAnimationFrame)"
    )
    assert '"signature":' in page.run("return document.body.textContent")


def test_curves_are_drawn_and_can_be_hidden_and_read_with_the_keyboard(page):
    page.run(IN_SIGHT, FIGURE)
    ink = page.run(INK, FIGURE)
    button = f"document.querySelector('{FIGURE} .legend button')"
    assert (
        page.run(f"{button}.click(); await new Promise(requestAnimationFrame); return {button}.ariaPressed") == "false"
    )
    assert 1000 < page.run(INK, FIGURE) < ink
    said = f"return document.querySelector('{FIGURE} output').textContent"
    assert page.run(said).startswith("6000 updates: LSTM ")
    page.run(f"document.querySelector('{FIGURE} .plot').focus()")
    page.press("Home", 36)
    page.press("ArrowRight", 39)
    assert page.run(said).startswith("200 updates: LSTM ")


def test_each_scale_and_scheme_is_another_picture(page):
    page.run(IN_SIGHT, FIGURE)
    picture = f"return document.querySelector('{FIGURE} canvas').toDataURL()"
    seen = [page.run(picture)]
    page.run(f"document.querySelector('{FIGURE} .scale').click(); await new Promise(requestAnimationFrame)")
    seen.append(page.run(picture))
    page.run("document.getElementById('scheme').click(); await new Promise(requestAnimationFrame)")
    seen.append(page.run(picture))
    assert len(set(seen)) == 3


def test_the_scheme_is_the_systems_until_somebody_chooses_and_is_kept(page):
    page_color = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(page_color)
    page.scheme("dark")
    dark = page.run(page_color)
    assert light != dark
    page.run("document.getElementById('scheme').click()")
    assert page.run(page_color) == light
    page.reload()
    assert page.run(page_color) == light


def test_a_keyboard_reaches_all_and_sees_where_it_is(page):
    page.press("Tab", 9)
    assert page.run("return document.activeElement.className") == "skip"
    assert page.run("return document.activeElement.getBoundingClientRect().left") == 0
    page.press("Tab", 9)
    page.press("Enter", 13)
    assert page.run("return location.hash") == "#tables"
    page.run("document.getElementById('profile').focus()")
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    unnamed = """
    return [...document.querySelectorAll('button, select, input, a, .box, .plot')].filter(
      one => !(one.textContent.trim() && one.matches('a, button')) && !one.ariaLabel && !one.labels?.length
    ).map(one => one.outerHTML.slice(0, 80))
    """
    assert page.run(unnamed) == []
    assert page.run("return [...document.querySelectorAll('.box')].every(one => one.tabIndex === 0)")


CONTRAST = """
const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
function light(color) {
  paint.fillStyle = color;
  paint.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].map(
    x => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const found = {};
for (const name of ['body', 'a', '.good', '.bad', '.open', '.about', '#shown', '.name span']) {
  const one = document.querySelector(`main ${name}`) ?? document.querySelector(name);
  let below = one;
  while (getComputedStyle(below).backgroundColor === 'rgba(0, 0, 0, 0)') below = below.parentElement;
  const both = [light(getComputedStyle(one).color), light(getComputedStyle(below).backgroundColor)];
  found[name] = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_page(page, scheme):
    """WCAG 2.2 asks for a contrast of 4.5."""
    page.scheme(scheme)
    found = page.run(CONTRAST)
    assert len(found) == 8 and min(found.values()) >= 4.5, found


def test_tables_are_filtered_by_where_they_are_from(chromium, tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "table_names", lambda: ["figure2_adding"])
    make(tmp_path / "runs", "figure2_adding", "quick")
    names = page_tables.HERE, page_tables.PUBLISHED
    places = [page_tables.Place(name, tmp_path / "runs", tmp_path) for name in names]
    sources = [(place, [judged.report("figure2_adding", "quick", tmp_path / "runs")]) for place in places]
    report_page.write(tmp_path / "report", report_page.texts(tmp_path / "report", tmp_path, sources))
    chromium.open(tmp_path / "report/index.html")
    assert chromium.run(SHOWN) == ["here-quick-figure2_adding", "quick-figure2_adding"]
    chromium.run(SET, "place", "this machine")
    assert chromium.run(SHOWN) == ["here-quick-figure2_adding"] and chromium.log() == []

"""The page in a real browser: no error, no request, nothing overflows, and its script computes what Python computes."""

import base64
import io
import json
from pathlib import Path

import pytest
from browser import Browser, chromium
from PIL import Image

from zoombench.reports import reading
from zoombench.reports import table as table_module
from zoombench.reports.claims import cells
from zoombench.reports.page import About, claimed, write
from zoombench.reports.table import from_rows

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium on this machine")

SIZES = {"phone": 390, "desktop": 1280}
OVERFLOW = """[...document.querySelectorAll("body *")].filter(one => {
  if (one.closest(".scroll, pre, svg, .interactive[hidden]") && !one.matches(".scroll, pre")) return false;
  const box = one.getBoundingClientRect();
  return box.width > 0 && (box.right > WIDTH + 0.5 || box.left < -0.5);
}).map(one => one.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(chromium(), tmp_path_factory.mktemp("browser") / "profile")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(made, tmp_path_factory):
    """The committed table of a real sweep; a made-up sweep with names and endings of every kind; with own splits."""
    folder = tmp_path_factory.mktemp("pages")
    given = reading.read(Path(__file__).with_name("quickstart.csv"))
    told = {"command": "zoombench report", "resolved": "", "versions": {}, "commit": ""}
    about = About(sweep="quickstart", reference="uniform", methods=given.methods, **told)
    small = write(given.table, about, folder / "small")
    table = from_rows(made.sweep())
    split = from_rows([{**row, "split_id": f"s{row['seed']}", "n_train": 4000} for row in made.sweep()])
    own = About(sweep="splits", reference="uniform", **told)
    hostile = About(sweep="quick <i>start", reference="uniform", margins={"accuracy": 0.01}, **told)
    return {
        "small": (small, claimed(given.table, about)),
        "splits": (write(split, own, folder / "splits"), claimed(split, own)),
        "hostile": (write(table, hostile, folder / "hostile"), claimed(table, hostile)),
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["small", "hostile"])
def test_the_page_is_quiet_and_fits(browser, pages, name, size, dark):
    browser.open(pages[name][0], width=SIZES[size], dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert browser.complaints == []
    assert browser.requests == [pages[name][0].as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= SIZES[size]
    assert browser.evaluate(OVERFLOW.replace("WIDTH", str(SIZES[size]))) == []
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(16, 19, 22)" if dark else "rgb(251, 251, 250)")


def test_the_checks_above_can_fail(browser, pages, tmp_path):
    text = pages["small"][0].read_text()
    bad = tmp_path / "bad.html"
    bad.write_text(
        text.replace("default-src 'none'", "default-src * 'unsafe-inline'")
        .replace("script-src", "x-src")
        .replace(
            "</main>",
            '<p style="width: 5000px">wide</p><script>console.error("loud")</script>'
            f'<img alt="" src="{pages["small"][0].with_name("absent.png").as_uri()}"></main>',
        )
    )
    browser.open(bad, width=390)
    assert any("loud" in text for text in browser.complaints)
    assert len(browser.requests) == 2
    assert len(browser.evaluate(OVERFLOW.replace("WIDTH", "390"))) == 1


def test_the_page_forbids_what_it_does_not_hold(browser, pages, tmp_path):
    bad = tmp_path / "injected.html"
    bad.write_text(pages["small"][0].read_text().replace("</main>", "<script>window.injected = 1</script></main>"))
    browser.open(bad, width=1280)
    assert browser.evaluate("window.injected === undefined")
    assert any("Content Security Policy" in text for text in browser.complaints)


@pytest.mark.parametrize("name", ["small", "hostile", "splits"])
def test_another_reference_gives_the_intervals_that_python_gives(browser, pages, made, name):
    path, found = pages[name]
    browser.open(path, width=1280)
    table = table_module.read(path.parent)
    methods = [entry.method for entry in found[0].entries]
    for reference in methods:
        shown = browser.evaluate(
            f"""(() => {{
              const select = document.querySelector("#switch select");
              select.value = {json.dumps(reference)};
              select.dispatchEvent(new Event("change"));
              return [...document.querySelectorAll("#switched table")].map(table => [table.caption.textContent,
                [...table.tBodies[0].rows].map(row => [row.cells[0].textContent, row.cells[1].textContent,
                  +row.cells[2].textContent, JSON.parse(row.dataset.exact)])]);
            }})()"""
        )
        expected = {cell.title: cell for cell in cells(table, reference)}
        assert len(shown) == len(expected)
        for caption, rows in shown:
            cell = expected[caption.split(":")[0]]
            claims = {claim.method + ("" if claim.competes else " (upper bound)"): claim for claim in cell.claims}
            assert {row[0] for row in rows} == (set(claims) if rows else set())
            assert rows or not cell.entry(reference).summary.n
            for method, text, n, exact in rows:
                c = claims[method].comparison
                assert n == c.complete
                if n < 3:
                    assert exact == [None, None, None]
                    continue
                ends = [None, None] if c.interval is None else [c.interval.low, c.interval.high]
                assert exact == pytest.approx([c.effect, *ends], abs=1e-12)
                assert text == f"{cell.metric.difference(c.effect)} {cell.metric.differences(c.interval)}"


def test_a_table_is_sorted_by_a_click_and_put_back_by_the_third(browser, pages):
    browser.open(pages["small"][0], width=1280)
    head = "document.querySelectorAll('#scores table thead th')[1]"
    order = "[...document.querySelectorAll('#scores tbody th')].map(one => one.textContent)"
    first = browser.evaluate(order)
    assert first[0] == "uniform (reference)"
    rising = ["spatial_transformer", "uniform (reference)", "saliency_sampler", "oracle_crop (upper bound)"]
    seen = []
    for _ in range(3):
        browser.evaluate(f"{head}.querySelector('button').click()")
        seen.append((browser.evaluate(order), browser.evaluate(f"{head}.getAttribute('aria-sort')")))
    assert seen == [(rising, "ascending"), (rising[::-1], "descending"), (first, None)]


def test_a_method_that_is_unticked_leaves_tables_and_fades_in_plots(browser, pages):
    browser.open(pages["small"][0], width=1280)
    shown = """[...document.querySelectorAll('#scores tbody tr')].filter(row => row.checkVisibility()).length"""
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert browser.evaluate(shown) == 4
    browser.evaluate("document.querySelectorAll('#filter input')[2].click()")
    assert browser.evaluate(shown) == 3
    faded = "[...document.querySelectorAll('#differences svg .off')].map(one => getComputedStyle(one).opacity)"
    assert set(browser.evaluate(faded)) == {"0.08"}
    browser.evaluate("document.querySelector('#filter button').click()")
    assert browser.evaluate(shown) == 4


def test_everything_reads_without_script(browser, pages):
    path, found = pages["small"]
    browser.open(path, width=1280, script=False)
    text = browser.call("DOM.getDocument", depth=0)["root"]["nodeId"]
    html = browser.call("DOM.getOuterHTML", nodeId=text)["outerHTML"]
    assert html.count('class="interactive" hidden') == 2
    assert "<button" not in html
    assert all(claim.verdict.sentence in html.replace("&lt;", "<") for claim in found[0].claims)
    assert browser.complaints == []


def edges(browser, where: str) -> tuple[int, int]:
    """How much darker the left and the right edge of a light box are than its ground, in the row below its top."""
    left, top, width = browser.evaluate(
        f"(() => {{ const one = {where}; one.scrollIntoView({{block: 'center'}});"
        "const box = one.getBoundingClientRect(); return [box.left, box.top, box.width]; })()"
    )
    shot = browser.call("Page.captureScreenshot", format="png")["data"]
    picture = Image.open(io.BytesIO(base64.b64decode(shot))).convert("L")
    scale = picture.width / browser.evaluate("innerWidth")
    return tuple(255 - picture.getpixel((int(x * scale), int((top + 5) * scale))) for x in (left + 3, left + width - 4))


def test_a_box_that_is_cut_off_has_a_shadow_where_there_is_more(browser, pages):
    box = "document.querySelector('#differences .scroll')"
    browser.open(pages["small"][0], width=390)
    assert browser.evaluate(f"{box}.scrollWidth > {box}.clientWidth")
    left, right = edges(browser, box)
    assert (left, right > 40) == (0, True)
    browser.evaluate(f"{box}.scrollLeft = 9999")
    left, right = edges(browser, box)
    assert (left > 40, right) == (True, 0)
    browser.open(pages["small"][0], width=1280)
    assert edges(browser, box) == (0, 0), "all of it is seen"


def test_the_tab_key_reaches_every_box_and_link(browser, pages):
    browser.open(pages["small"][0], width=1280)
    wanted = browser.evaluate(
        """(() => {
          const all = [...document.querySelectorAll("a[href], summary, .scroll, pre, button, select, input")]
            .filter(one => one.checkVisibility());
          all.forEach((one, i) => { one.dataset.stop = i; });
          return all.length;
        })()"""
    )
    stops = set()
    for _ in range(wanted + 5):
        for kind in ("rawKeyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        stops.add(browser.evaluate("document.activeElement.dataset.stop"))
    assert {int(stop) for stop in stops if stop is not None} == set(range(wanted))


def test_the_page_prints(browser, pages):
    browser.open(pages["small"][0], width=1280, dark=True)
    assert browser.pdf().startswith(b"%PDF")
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("document.querySelector('nav').checkVisibility()") is False

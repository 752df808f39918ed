"""The explorer: what it refuses, how fast it is, and that it works in a real browser."""

import io
import re
import time
from urllib.parse import parse_qs

import browser
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.stats import norm

from replication import data, explorer, paths, published
from replication.config import RunConfig
from replication.errors import RecordError
from replication.explorer import Explorer, ExplorerError, Model
from replication.model import networks
from replication.paper import experiments
from replication.paper.plans import make_plan


def model(n_latent: int, with_data: bool = True) -> Model:
    config = RunConfig(dataset="digits", algorithm="aevb", n_latent=n_latent, n_hidden=8, samples_total=1)
    params = networks.init_params(config.replace(initialisation="fan_in"), tf.constant(0, tf.int64))

    def read_test_images() -> np.ndarray:
        if not with_data:
            raise ExplorerError(explorer.NO_DATA)
        return data.load("digits").x_test

    return Model(lambda: networks.to_arrays(params), "digits", read_test_images)


@pytest.fixture
def app() -> Explorer:
    return Explorer({"flat": model(2), "deep": model(5), "blind": model(2, with_data=False)})


def press(app: Explorer, across: float, down: float) -> None:
    """What the browser reports of a click on the map."""
    width, height = np.array(app._map_size) - 2 * explorer.MARGIN
    x, y = explorer.MARGIN + across * width, explorer.MARGIN + down * height
    app._point({"type": "mousedown", "buttons": 1, "dataX": x, "dataY": y})


def test_a_slider_moves_the_image_and_a_click_the_slider(app):
    # Fails if a widget is not connected, or if the map's axes are swapped or upside down.
    before = app.decoded.value
    app.sliders[0].value = 0.9
    assert app.decoded.value != before
    np.testing.assert_allclose(app.z, [norm.ppf(0.9), 0])
    app.numbers[1].value = -0.25
    np.testing.assert_allclose(app.z, [norm.ppf(0.9), -0.25])
    press(app, 0.5, 0.1)
    np.testing.assert_allclose([slider.value for slider in app.sliders], [0.5, 0.9], atol=0.01)
    np.testing.assert_allclose([number.value for number in app.numbers], [0, norm.ppf(0.9)], atol=0.05)


def test_a_slider_covers_the_prior_and_stays_at_its_end_beyond():
    # Fails if most of a slider's way leads where the prior has nothing, or if it moves a point that lies beyond it.
    app = Explorer({"flat": model(2)})
    app.move([5.0, 0.0])
    assert app.sliders[0].value == app.sliders[0].max and app.z[0] == 5 and app.numbers[0].value == 5
    app.sliders[1].value = 0.25
    assert app.z[0] == 5 and app.z[1] == pytest.approx(norm.ppf(0.25))


def test_the_arrow_keys_go_a_step_and_stay_in_range(app):
    # Fails if up is down, if another key moves the point, or if the edge is an error.
    app._press({"key": "ArrowUp"})
    app._press({"key": "ArrowLeft"})
    app._press({"key": "a"})
    np.testing.assert_allclose(app.z, [-explorer.STEP, explorer.STEP])
    app.numbers[0].value = explorer.LIMIT
    app._press({"key": "ArrowRight"})
    assert app.z[0] == explorer.LIMIT and "out of range" not in app.status.value


@pytest.mark.parametrize("z", [[0, 0], [explorer.LIMIT, explorer.LIMIT], [-explorer.LIMIT, -explorer.LIMIT]])
def test_the_point_is_whole_at_the_edge_of_the_map(app, z):
    # Fails if it is cut, or if it lies elsewhere than the image that it names.
    app.move(z)
    left, top, *_ = (float(share) / 100 for share in re.findall(r"(?:left|top): ([\d.]+)%", app.overlay.value))
    width, height = app._map_size
    x, y = left * width, top * height
    assert explorer.MARKER < x < width - explorer.MARKER and explorer.MARKER < y < height - explorer.MARKER
    across, up = norm.cdf(np.clip(z, -6, 6))
    assert (x - explorer.MARGIN) / (width - 2 * explorer.MARGIN) == pytest.approx(across, abs=0.001)
    assert (y - explorer.MARGIN) / (height - 2 * explorer.MARGIN) == pytest.approx(1 - up, abs=0.001)


def test_the_axes_of_the_map_are_named(app):
    assert "z<sub>1</sub>" in app.overlay.value and "z<sub>2</sub>" in app.overlay.value
    app.choice.value = "deep"
    app.axes[0].value = 3
    assert "z<sub>4</sub>" in app.overlay.value and "z<sub>1</sub>" not in app.overlay.value


def test_a_click_in_the_margin_goes_to_the_edge(app):
    # Fails if it is infinite or beyond reach.
    press(app, -0.02, 1.02)
    assert app.z[0] < -2.5 and app.z[1] < -2.5 and np.all(np.isfinite(app.z))


def test_a_move_takes_less_than_50_ms(app):
    seconds = []
    for value in np.linspace(-2, 2, 21):
        start = time.process_time()
        app.sliders[1].value = value
        seconds.append(time.process_time() - start)  # other tests run beside this one
    assert np.median(seconds) < 0.05


def test_the_map_of_a_deep_model_is_a_plane_through_the_point(app):
    # Fails if the other coordinates are not held where they are.
    app.choice.value = "deep"
    app.elsewhere.click()
    app.axes[0].value, app.axes[1].value = 3, 1
    z = app.z.copy()
    press(app, 0.5, 0.5)
    assert np.abs(app.z[[3, 1]]).max() < 0.01  # the middle of the pixel beside the middle of the map
    np.testing.assert_array_equal(app.z[[0, 2, 4]], z[[0, 2, 4]])
    app.axes[0].value = 1
    assert "two different axes" in app.status.value


def test_each_image_of_the_map_is_what_a_click_on_it_decodes(app):
    # Fails if the map is transposed or upside down, beside axes that are right.
    app.choice.value = "deep"
    app.axes[0].value, app.axes[1].value = 3, 1
    app.elsewhere.click()
    images = app.model.plane(app.z, (3, 1)).reshape(explorer.MAP_SIDE, explorer.MAP_SIDE, -1)
    for row, column in ((0, 0), (2, 11), (14, 3)):
        press(app, (column + 0.5) / explorer.MAP_SIDE, (row + 0.5) / explorer.MAP_SIDE)
        np.testing.assert_allclose(images[row, column], app.model.networks.decode(app.z[None])[0], atol=0.02)


def test_the_image_is_left_of_its_reconstruction(app):
    app.index.value = 7
    x = app.model.test_image(7)
    left = np.asarray(Image.open(io.BytesIO(app.pair.value)).convert("RGB"))
    expected = Image.open(io.BytesIO(app._enlarged(x[None]))).convert("RGB")
    np.testing.assert_array_equal(left[:, : expected.width], np.asarray(expected))


def test_a_link_to_an_image_that_cannot_be_shown_still_shows_its_map(app):
    # Fails if the axes move and the map does not: a click would then lead elsewhere than the map says.
    query = "model=blind&axes=2,1&z=0.5,1&image=7"
    again = Explorer(app.models, query)
    assert "not on this machine" in again.status.value and again.shown is None
    assert again.overlay.value.index("z<sub>2</sub>") < again.overlay.value.index("z<sub>1</sub>")
    np.testing.assert_allclose(again.z, [0.5, 1])


def test_an_error_stands_until_the_next_action(app):
    app.index.value = 7
    landed = app.status.value
    app.index.value = -1
    assert "no test image -1" in app.status.value
    app.sliders[0].value = 0.7
    assert app.status.value == landed and "Left: the image" in landed


def test_a_test_image_lands_where_the_encoder_says(app):
    app.index.value = 7
    params = networks.from_arrays(app.model._read_weights())
    mean = networks.encode(params.encoder, data.load("digits").x_test[7]).mean().numpy()
    assert f"({mean[0]:.2f}, {mean[1]:.2f})" in app.status.value and "nats" in app.status.value
    np.testing.assert_allclose(app.z, mean, atol=1e-5)


def test_the_first_test_image_can_be_looked_at_first(app):
    # Fails if only a change of the number shows an image: it begins at 0.
    assert app.pair.layout.display == "none" and app.index.value == 0
    app.look.click()
    assert app.pair.layout.display is None and app.status.value.startswith("Test image 0 lands")


def test_a_link_leads_to_the_test_image_too(app):
    app.index.value = 7
    app.move([0.5, 0.5])
    again = Explorer(app.models, app.query)
    assert again.shown == again.index.value == 7 and again.pair.value == app.pair.value
    np.testing.assert_allclose(again.z, [0.5, 0.5])
    assert "image=7" in again.query
    app.choice.value = "deep"
    assert "image" not in app.query


def test_a_view_is_found_again_by_its_query(app):
    # Fails if the query leaves out what is not on the map.
    app.choice.value = "deep"
    app.axes[0].value, app.axes[1].value = 3, 1
    app.elsewhere.click()
    again = Explorer(app.models, app.query)
    assert again.query == app.query and again.map.value and "deep" in app.query and "axes=4,2" in app.query
    np.testing.assert_allclose(again.z, app.z, atol=0.006)
    assert again.query in again.link.value.replace("&amp;", "&") and again.link.layout.display is None
    assert Explorer(app.models).link.layout.display == "none", "there is no address in a notebook"


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("model=x&axes=1,2&z=0,0", "no model"),
        ("model=deep&axes=1,2", "two axes and a point"),
        ("model=deep&axes=1,2&z=0,a,0,0,0", "two axes and a point"),
        ("model=deep&axes=1,2&z=0,0", "5 latent dimensions"),
        ("model=deep&axes=1,2&z=0,0,nan,0,0", "out of range"),
        ("model=deep&axes=0,6&z=0,0,0,0,0", "from 1 to 5"),
        ("model=flat&axes=1,2&z=0,0&image=297", "no test image 297"),
        ("model=flat&axes=1,2&z=0,0&image=x", "its number"),
        ("voila-theme=dark", explorer.WELCOME),
    ],
)
def test_an_address_that_leads_nowhere_is_answered_in_words(app, query, answer):
    assert answer in Explorer(app.models, query).status.value


def test_every_test_image_lands_within_reach():
    # Otherwise the sliders show another point than the text.
    for name, one in explorer.recorded_models(make_plan("paper")).items():
        if published.is_here(one.dataset):
            assert np.abs(one.networks.encode(one.x_test)[0]).max() < explorer.LIMIT, name


def test_what_cannot_be_is_answered_in_words(app):
    with pytest.raises(ExplorerError, match="out of range"):
        app.move([explorer.LIMIT + 1, 0.0])
    with pytest.raises(ExplorerError, match="2 latent dimensions"):
        app.move([0.0])
    with pytest.raises(ExplorerError, match=r"no model 'x'.*flat, deep"):
        app.select("x")
    with pytest.raises(ExplorerError, match="no recorded run"):
        Explorer({})
    app.index.value = 10_000
    assert "numbered 0 to 296" in app.status.value
    app.choice.value = "blind"
    app.index.value = 3
    assert "replication data" in app.status.value


@pytest.fixture
def url():
    """The address of the explorer as an app on this machine."""
    with browser.voila() as address:
        yield address


@pytest.mark.slow
def test_in_a_browser_the_picture_follows_and_addresses_lead_to_their_views(chromium, url):
    # Fails if the page shows an error, if a widget's script is missing, if the kernel does not answer or does not see
    # the address, or if the link is of an earlier point.
    name = next(iter(explorer.recorded_models(make_plan("paper"))))
    with browser.opened(f"{url}?model={name}&axes=1,2&z=-0.50,1.20") as page:
        errors = []
        page.on("pageerror", lambda error: errors.append(error))
        assert _readouts(page) == [-0.5, 1.2]
        shown = page.evaluate(browser.IMAGES)
        page.locator(".noUi-handle").first.focus()
        page.keyboard.press("ArrowRight")
        shown = browser.changed(page, shown)
        page.locator("img.widget-image").first.click(position={"x": 60, "y": 60})
        shown = browser.changed(page, shown)
        across, up = _readouts(page)
        assert -2 < across <= -1 and 1 <= up < 2
        # The slider had the focus: fails, too, if it takes the key as well.
        page.keyboard.press("ArrowRight")
        browser.changed(page, shown)
        page.wait_for_timeout(1000)  # the numbers follow the pictures
        assert _readouts(page) == pytest.approx([across + explorer.STEP, up], abs=0.011)
        text = page.inner_text("body")
        assert "The explorer" in text and "Traceback" not in text and "Error" not in text
        assert not page.locator("img[src$='.gif']").first.is_visible(), "the film is for who has no kernel"
        assert not errors and not page.missing
        link = page.locator("a", has_text="Link to this view").get_attribute("href")
        query = parse_qs(link.removeprefix("?"))
        assert query["model"] == [name] and [float(z) for z in query["z"][0].split(",")] == _readouts(page)
        _is_whole_on_a_phone(page)


def _is_whole_on_a_phone(page) -> None:
    """Fails if a control lies beside a narrow page, or if a click on the smaller map goes elsewhere."""
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_timeout(1000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    shown = page.evaluate(browser.IMAGES)
    area = page.locator("img.widget-image").first
    box = area.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 400
    area.click(position={"x": 0.75 * box["width"], "y": 0.25 * box["height"]})
    browser.changed(page, shown)
    page.wait_for_timeout(1000)
    assert _readouts(page) == pytest.approx([0.69, 0.69], abs=0.1)


def _readouts(page) -> list[float]:
    return [float(page.locator("input[type=number]").nth(i).input_value()) for i in range(2)]


def test_the_film_moves_and_is_small():
    # `python tests/browser.py` makes it. Fails if it is a still, or too large for a page.
    film = paths.figures("paper") / "explorer.gif"
    with Image.open(film) as picture:
        assert picture.format == "GIF" and picture.n_frames > 30
    assert film.stat().st_size < 1_000_000


def test_recorded_models_come_with_the_clone():
    # Fails if a run that the explorer offers has no weights in data/runs.
    plan = make_plan("paper")
    assert len(explorer.recorded_models(plan)) == len(experiments.decoded(plan))


def test_what_is_recorded_beyond_the_samples_that_are_asked_for_is_refused_in_words():
    # The weights are those of the end, and so is what each latent dimension says: fails if the user sees a KeyError.
    with pytest.raises(RecordError, match=r"recorded at the end .*after 1,000,0\d\d samples.*leave it out"):
        explorer.recorded_models(make_plan("paper", overrides={"samples_total": 1_000_000}))

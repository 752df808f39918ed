"""The explorer: what it refuses, how fast it is, and that it works in a real browser."""

import io
import time
from urllib.parse import parse_qs

import browser
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.colors import to_rgb
from PIL import Image

from replication import data, explorer, paths
from replication.config import RunConfig
from replication.errors import RecordError
from replication.explorer import Explorer, ExplorerError, Model
from replication.model import latent, networks
from replication.paper import experiments
from replication.paper.plans import make_plan
from replication.plots import palette


def model(n_latent: int, with_data: bool = True) -> Model:
    config = RunConfig(dataset="digits", algorithm="aevb", n_latent=n_latent, n_hidden=8, samples_total=1)
    params = networks.init_params(config.replace(initialisation="fan_in"), tf.constant(0, tf.int64))
    return Model(params, "digits", data.load("digits").x_test if with_data else None)


@pytest.fixture
def app() -> Explorer:
    return Explorer({"flat": model(2), "deep": model(5), "blind": model(2, with_data=False)})


def press(app: Explorer, across: float, down: float) -> None:
    """What the browser reports of a click on the map."""
    width, height = np.array(app._map.size) - 2 * explorer.MARGIN
    x, y = explorer.MARGIN + across * width, explorer.MARGIN + down * height
    app._point({"type": "mousedown", "buttons": 1, "dataX": x, "dataY": y})


def test_a_slider_moves_the_image_and_a_click_the_slider(app):
    # Fails if a widget is not connected, or if the map's axes are swapped or upside down.
    before = app.decoded.value
    app.sliders[0].value = 1.5
    assert app.decoded.value != before
    np.testing.assert_allclose(app.z, [1.5, 0])
    press(app, 0.5, 0.1)
    np.testing.assert_allclose([slider.value for slider in app.sliders], [0, 1.2816], atol=0.05)


def test_the_arrow_keys_go_a_step_and_stay_in_range(app):
    # Fails if up is down, if another key moves the point, or if the edge is an error.
    app._press({"key": "ArrowUp"})
    app._press({"key": "ArrowLeft"})
    app._press({"key": "a"})
    np.testing.assert_allclose(app.z, [-explorer.STEP, explorer.STEP])
    app.sliders[0].value = explorer.LIMIT
    app._press({"key": "ArrowRight"})
    assert app.z[0] == explorer.LIMIT and "out of range" not in app.status.value


@pytest.mark.parametrize("z", [[0, 0], [explorer.LIMIT, explorer.LIMIT], [-explorer.LIMIT, -explorer.LIMIT]])
def test_the_marker_is_whole_at_the_edge_of_the_map(app, z):
    app.move(z)
    pixels = np.asarray(Image.open(io.BytesIO(app.map.value)))
    marked = np.argwhere((pixels == np.round(255 * np.array(to_rgb(palette.POINTER)))).all(-1))
    assert all(np.ptp(marked, axis=0) == 2 * explorer.MARKER)


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


def test_a_test_image_lands_where_the_encoder_says(app):
    app.index.value = 7
    mean = networks.encode(app.model.params.encoder, data.load("digits").x_test[7]).mean().numpy()
    assert f"({mean[0]:.2f}, {mean[1]:.2f})" in app.status.value and "nats" in app.status.value
    np.testing.assert_allclose([slider.value for slider in app.sliders], mean, atol=1e-6)


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
        ("voila-theme=dark", explorer.WELCOME),
    ],
)
def test_an_address_that_leads_nowhere_is_answered_in_words(app, query, answer):
    assert answer in Explorer(app.models, query).status.value


def test_every_test_image_lands_within_reach():
    # Otherwise the sliders show another point than the text.
    for name, one in explorer.recorded_models(make_plan("paper")).items():
        if one.x_test is not None:
            assert np.abs(latent.encoder_mean(one.params, one.x_test)).max() < explorer.LIMIT, name


def test_what_cannot_be_is_answered_in_words(app):
    with pytest.raises(ExplorerError, match="out of range"):
        app.move([9.0, 0.0])
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
        assert not errors
        link = page.locator("a", has_text="Link to this view").get_attribute("href")
        query = parse_qs(link.removeprefix("?"))
        assert query["model"] == [name] and [float(z) for z in query["z"][0].split(",")] == _readouts(page)


def _readouts(page) -> list[float]:
    return [float(text.replace("−", "-")) for text in page.locator(".widget-readout").all_inner_texts()]


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

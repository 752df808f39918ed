"""The explorer: a trained model to play with, as widgets in a notebook or as an app."""

import html
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlencode

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from ipyevents import Event
from PIL import Image, ImageDraw, ImageOps
from scipy.stats import norm

from replication import data, paths
from replication.config import DATASETS
from replication.errors import ReplicationError
from replication.model import estimators, latent, networks
from replication.model.networks import Params
from replication.paper import experiments, names
from replication.paper.plans import Plan
from replication.plots import palette, pictures
from replication.runs import records

LIMIT = 8.0  # coordinates of z that can be reached: every test image lands there, a few of Frey Face beyond 7
MAP_HEIGHT, MAP_SIDE, IMAGE_HEIGHT = 480, 15, 224  # pixels; images along a side of the map
MARKER, MARGIN = 9, 12  # pixels: its radius, and a border of the map wide enough for it
MOUSE_MS = 30  # between two events of a dragged mouse
N_BOUND_SAMPLES = 100
STEP = 0.1  # of z, for an arrow key
ARROWS = {"ArrowLeft": (-STEP, 0), "ArrowRight": (STEP, 0), "ArrowDown": (0, -STEP), "ArrowUp": (0, STEP)}
WELCOME = "Click on the map, drag across it, press the arrow keys over it, or move the sliders."
# The film in the notebook is for who has no kernel. An HTML image: Voila fails on one in Markdown outside its root.
LINK = '<a href="?{}">Link to this view</a><style>.celltag_film {{display: none}}</style>'
NO_DATA = "The test images are not on this machine. `python -m replication data` fetches them."


class ExplorerError(ReplicationError, ValueError):
    """A point, an image or a model that does not exist."""


class Model:
    """A decoder and encoder with the pictures that the explorer shows of them; `axes` are those of the first map."""

    def __init__(self, params: Params, dataset: str, x_test: np.ndarray | None, axes: tuple[int, int] = (0, 1)):
        self.params, self.dataset, self.x_test, self.axes = params, dataset, x_test, axes
        self.image_shape = DATASETS[dataset].image_shape
        self.n_latent = latent.n_latent_of(params)

    def plane(self, z: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
        """Decoder means [MAP_SIDE^2, D] over two axes of the latent space, the other coordinates as in z."""
        points = np.repeat(z[None], MAP_SIDE**2, axis=0)
        points[:, list(axes)] = latent.unit_square(MAP_SIDE)
        return latent.decoder_mean(self.params, points)

    def check_point(self, z: np.ndarray) -> None:
        """Raise ExplorerError for a point that is not within reach."""
        if z.shape != (self.n_latent,):
            raise ExplorerError(f"z has {z.size} coordinates, but this model has {self.n_latent} latent dimensions.")
        if not np.all(np.abs(z) <= LIMIT):
            raise ExplorerError(f"z = {np.round(z, 2).tolist()} is out of range: coordinates are within ±{LIMIT:g}.")

    def test_image(self, index: int) -> np.ndarray:
        """The test image x [D]; raises ExplorerError for one that does not exist."""
        if self.x_test is None:
            raise ExplorerError(NO_DATA)
        if not 0 <= index < len(self.x_test):
            raise ExplorerError(f"There is no test image {index}: they are numbered 0 to {len(self.x_test) - 1}.")
        return self.x_test[index]

    def bound(self, x: np.ndarray) -> float:
        """The lower bound of one image [nats], the mean over N_BOUND_SAMPLES samples of z."""
        eps = np.random.default_rng(0).standard_normal((N_BOUND_SAMPLES, 1, self.n_latent), np.float32)
        return float(estimators.sgvb_b(self.params, x[None], eps).elbo[0])

    def pixels(self, images: np.ndarray, n_columns: int) -> np.ndarray:
        """Images [n, D] side by side as RGB bytes."""
        grey = np.clip(pictures.tile(images, n_columns, self.image_shape), 0, 1)
        return (255 * plt.colormaps[pictures.INK[self.dataset]](grey)[..., :3]).astype(np.uint8)


def recorded_models(plan: Plan) -> dict[str, Model]:
    """A model for each recorded run that a notebook decodes, by a name to choose it; test images where they are here.

    Raises RecordError for damaged weights, and for those of a run that is recorded beyond what is asked for.
    """
    folder = paths.runs(plan.profile)
    local = {name: data.load_local(name) for name in plan.datasets}
    test_images = {name: dataset.x_test for name, dataset in local.items() if dataset is not None}
    found = {}
    for run in experiments.decoded(plan):
        if run.n_latent < 2 or not (folder / run.run_id / records.WEIGHTS).exists():  # the map has two axes
            continue
        record = records.load(run, folder)
        if record is None:
            continue
        across, up = sorted(np.argsort(record.kl_per_dimension)[-2:].tolist())  # the most used
        params = networks.from_arrays(records.load_weights(run, folder))
        found[f"{names.DATASETS[run.dataset]}, {run.n_latent} latent dimensions"] = Model(
            params, run.dataset, test_images.get(run.dataset), (across, up)
        )
    return found


def address() -> str | None:
    """What follows the ? in the address of the app; None in a notebook, which has no address to share."""
    return os.environ.get("QUERY_STRING")  # Voila sets it for every kernel


class Explorer:
    """The widgets and what happens when they are moved; `view` is what to display.

    `query` asks for a view, as `self.query` writes it; with None there is no link to the view.
    """

    def __init__(self, models: Mapping[str, Model], query: str | None = None):
        if not models:
            raise ExplorerError(
                "There is no model to explore: no recorded run with two latent dimensions or more has weights."
            )
        self.models = models
        self.choice = widgets.Dropdown(options=list(models), description="model")
        self.map = widgets.Image(format="png", layout=widgets.Layout(flex="0 0 auto", max_width="none"))
        self.decoded = self._picture(IMAGE_HEIGHT)
        self.axes = [widgets.Dropdown(description=name) for name in ("across", "up")]
        self.sliders = [self._slider(), self._slider()]
        self.elsewhere = widgets.Button(description="new random z")
        self.index = widgets.IntText(0, description="test image")
        self.pair = self._picture(IMAGE_HEIGHT // 2)
        self.status = widgets.HTML(WELCOME)
        self.link = widgets.HTML(layout=widgets.Layout(display="none" if query is None else None))
        self._updating = False
        self._connect()
        self.select(next(iter(models)))
        self._answer(self.visit)(query or "")
        controls = [self.choice, *self.axes, *self.sliders, self.elsewhere, self.decoded, self.index, self.pair]
        self.view = widgets.VBox(
            [
                widgets.HBox([self.map, widgets.VBox(controls)], layout=widgets.Layout(align_items="flex-start")),
                self.status,
                self.link,
            ]
        )

    def select(self, name: str) -> None:
        """Switch to a model; raises ExplorerError for an unknown one."""
        if name not in self.models:
            raise ExplorerError(f"There is no model {name!r}. The models are {', '.join(self.models)}.")
        self.model = self.models[name]
        with self._update():
            self.choice.value = name
            for dropdown, axis in zip(self.axes, self.model.axes, strict=True):
                dropdown.options = [(f"z{j + 1}", j) for j in range(self.model.n_latent)]
                dropdown.value = axis
                dropdown.layout.display = "none" if self.model.n_latent == 2 else None
            self.elsewhere.layout.display = self.axes[0].layout.display
        self.pair.layout.display, self.status.value = "none", WELCOME
        self._jump(np.zeros(self.model.n_latent, np.float32))

    def move(self, z: np.ndarray) -> None:
        """Go to a point z [n_latent] and show its decoder mean; raises ExplorerError for one out of range."""
        z = np.asarray(z, np.float32)
        self.model.check_point(z)
        self.z = z
        with self._update():
            for slider, axis in zip(self.sliders, self._plane, strict=True):
                slider.value, slider.description = float(z[axis]), f"z{axis + 1}"
        self.decoded.value = self._enlarged(latent.decoder_mean(self.model.params, z)[None])
        self._draw_marker()
        self.link.value = LINK.format(html.escape(self.query))

    @property
    def query(self) -> str:
        """The model, the axes of the map and the point, as the address of the app has them."""
        axes = ",".join(str(axis + 1) for axis in self._plane)
        z = ",".join(f"{value:.2f}" for value in self.z)
        return urlencode({"model": self.choice.value, "axes": axes, "z": z}, safe=",")

    def visit(self, query: str) -> None:
        """Go to the view of an address; raises ExplorerError for one that does not exist."""
        asked = dict(parse_qsl(query))
        if "model" not in asked:
            return
        self.select(asked["model"])
        try:
            across, up = (int(axis) - 1 for axis in asked["axes"].split(","))
            z = np.array(asked["z"].split(","), np.float32)
        except (KeyError, ValueError):
            raise ExplorerError("The address does not name two axes and a point z.") from None
        self.model.check_point(z)
        if across == up or not {across, up} <= set(range(self.model.n_latent)):
            raise ExplorerError(f"The address needs two different axes from 1 to {self.model.n_latent}.")
        with self._update():
            self.axes[0].value, self.axes[1].value = across, up
        self._jump(z)

    def show_test_image(self, index: int) -> None:
        """Show a test image and its reconstruction, go where it lands, and say its bound."""
        x = self.model.test_image(index)
        mean = latent.encoder_mean(self.model.params, x)
        self._jump(np.clip(mean, -LIMIT, LIMIT))
        self.pair.layout.display = None
        self.pair.value = self._enlarged(np.stack([x, latent.decoder_mean(self.model.params, mean)]))
        lands = ", ".join(f"{value:.2f}" for value in mean[list(self._plane)])
        self.status.value = (
            f"Test image {index} lands at ({lands}); its bound is {self.model.bound(x):.1f} nats. "
            "Left: the image, right: its reconstruction."
        )

    def _connect(self) -> None:
        """Let every widget call its action; an impossible request is answered in the status line."""
        self.choice.observe(self._answer(lambda _: self.select(self.choice.value)), "value")
        self.index.observe(self._answer(lambda _: self.show_test_image(self.index.value)), "value")
        for widget in self.sliders:
            widget.observe(self._answer(self._follow_sliders), "value")
        for widget in self.axes:
            widget.observe(self._answer(self._turn), "value")
        self.elsewhere.on_click(self._answer(self._go_elsewhere))
        self._mouse = Event(
            source=self.map, watched_events=["mousedown", "mousemove"], wait=MOUSE_MS, prevent_default_action=True
        )
        self._mouse.on_dom_event(self._answer(self._point))
        # Keys count while the mouse is over the map. They do not `wait`: what is left out would scroll the page.
        self._keys = Event(source=self.map, watched_events=["keydown"])
        self._keys.on_dom_event(self._answer(self._press))

    def _answer(self, action: Callable) -> Callable:
        def handler(*event) -> None:
            if self._updating:
                return
            try:
                action(*event)
            except ReplicationError as error:
                self.status.value = f"<b>{html.escape(str(error))}</b>"

        return handler

    def _follow_sliders(self, _: object) -> None:
        z = self.z.copy()
        z[list(self._plane)] = [slider.value for slider in self.sliders]
        self.move(z)

    def _turn(self, _: object) -> None:
        if self._plane[0] == self._plane[1]:
            raise ExplorerError("Choose two different axes: the map is a plane.")
        self._jump(self.z)

    def _go_elsewhere(self, _: object) -> None:
        z = np.random.default_rng().standard_normal(self.model.n_latent, np.float32)
        self._jump(np.clip(z, -LIMIT, LIMIT))

    def _jump(self, z: np.ndarray) -> None:
        """Go to a point that may lie off the plane of the map."""
        self.z = z
        self._draw_map()
        self.move(z)

    def _point(self, event: dict) -> None:
        """Go where the mouse is pressed on the map: the middle of a pixel, or the nearest one from the margin."""
        if event["type"] == "mousemove" and event["buttons"] != 1:
            return
        size = np.array(self._map.size) - 2 * MARGIN
        pixel = np.clip([event["dataX"] - MARGIN, event["dataY"] - MARGIN], 0, size - 1)
        across, down = (pixel + 0.5) / size
        z = self.z.copy()
        z[list(self._plane)] = norm.ppf([across, 1 - down])
        self.move(z)

    def _press(self, event: dict) -> None:
        """Go a step where an arrow key points."""
        if event["key"] in ARROWS:
            z = self.z.copy()
            z[list(self._plane)] += ARROWS[event["key"]]
            self.move(np.clip(z, -LIMIT, LIMIT))

    @contextmanager
    def _update(self) -> Iterator[None]:
        """Set widgets without hearing of it as if the user had."""
        before, self._updating = self._updating, True
        try:
            yield
        finally:
            self._updating = before

    @staticmethod
    def _slider() -> widgets.FloatSlider:
        return widgets.FloatSlider(min=-LIMIT, max=LIMIT, step=0.01, readout_format=".2f")

    @staticmethod
    def _picture(height: int) -> widgets.Image:
        """Of that many pixels, as wide as its image is, not as its column."""
        return widgets.Image(format="png", layout=widgets.Layout(height=f"{height}px", object_fit="contain"))

    @property
    def _plane(self) -> tuple[int, int]:
        return self.axes[0].value, self.axes[1].value

    def _draw_map(self) -> None:
        pixels = Image.fromarray(self.model.pixels(self.model.plane(self.z, self._plane), MAP_SIDE))
        size = round(MAP_HEIGHT * pixels.width / pixels.height), MAP_HEIGHT
        self._map = ImageOps.expand(pixels.resize(size, Image.Resampling.LANCZOS), MARGIN, "white")

    def _draw_marker(self) -> None:
        across, up = norm.cdf(self.z[list(self._plane)])
        x = MARGIN + across * (self._map.width - 2 * MARGIN)
        y = MARGIN + (1 - up) * (self._map.height - 2 * MARGIN)
        marked = self._map.copy()
        circle = (x - MARKER, y - MARKER, x + MARKER, y + MARKER)
        ImageDraw.Draw(marked).ellipse(circle, outline=palette.POINTER, width=3)
        self.map.value = _as_png(marked)

    def _enlarged(self, images: np.ndarray) -> bytes:
        pixels = Image.fromarray(self.model.pixels(images, len(images)))
        scale = IMAGE_HEIGHT // pixels.height
        return _as_png(pixels.resize((pixels.width * scale, pixels.height * scale), Image.Resampling.NEAREST))


def _as_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "png", compress_level=1)
    return stream.getvalue()

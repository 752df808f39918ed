"""The explorer: a trained model to play with, as widgets in a notebook or as an app."""

import html
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property, partial
from urllib.parse import parse_qsl, urlencode

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from ipyevents import Event
from PIL import Image, ImageOps
from scipy.stats import norm

from replication import data, paths
from replication.config import DATASETS
from replication.errors import ReplicationError
from replication.model import plane
from replication.model.trained import TrainedModel
from replication.paper import experiments, names
from replication.paper.plans import Plan
from replication.plots import palette, pictures
from replication.runs import records

LIMIT = 16.0  # coordinates of z that can be reached: every test image lands there, a few of Frey Face beyond 10
MAP_HEIGHT, MAP_SIDE, IMAGE_HEIGHT = 480, 15, 224  # pixels; images along a side of the map
MARKER, MARGIN = 9, 12  # pixels: its radius, and a border of the map wide enough for it
LOWEST, HIGHEST = 0.001, 0.999  # the quantiles of the prior at the ends of a slider
# Over the map, so that a move need not send the map anew: where the point is, and the names of the axes.
STYLE = f"""<style>
.explorer-map {{position: relative; flex: 0 1 auto; max-width: 100%; padding: 0 0 1.4em 1.4em; overflow: hidden}}
.explorer-map img {{display: block; width: 100%; height: auto; touch-action: none}}
.explorer-map > .widget-html {{position: absolute; inset: 0 0 1.4em 1.4em; margin: 0; height: auto;
  pointer-events: none}}
.explorer-map .point {{position: absolute; width: {2 * MARKER}px; height: {2 * MARKER}px; box-sizing: border-box;
  transform: translate(-50%, -50%); border: 3px solid {palette.POINTER}; border-radius: 50%}}
.explorer-map .axis {{position: absolute; line-height: 1.4em}}
</style>"""
OVERLAY = (
    '<span class="point" style="left: {left:.3%}; top: {top:.3%}"></span>'
    '<span class="axis" style="left: 50%; bottom: -1.4em">{across}</span>'
    '<span class="axis" style="left: -1.3em; top: 50%">{up}</span>'
)
MOUSE_MS = 30  # between two events of a dragged mouse
N_BOUND_SAMPLES = 100
STEP = 0.1  # of z, for an arrow key
ARROWS = {"ArrowLeft": (-STEP, 0), "ArrowRight": (STEP, 0), "ArrowDown": (0, -STEP), "ArrowUp": (0, STEP)}
WELCOME = "Click on the map, drag across it, press the arrow keys over it, or move the sliders."
# Hides the film of the notebook, which is for who has no kernel.
LINK = '<a href="?{}">Link to this view</a><style>.celltag_film {{display: none}}</style>'
NO_DATA = "The test images are not on this machine. `python -m replication data` fetches them."


class ExplorerError(ReplicationError, ValueError):
    """A point, an image or a model that does not exist."""


class Model:
    """A trained model with the pictures that the explorer shows of it; `axes` are those of the first map.

    Weights and test images are read when they are first needed: a reader waits for one model, not for all.
    """

    def __init__(
        self,
        read_weights: Callable[[], Mapping[str, np.ndarray]],
        dataset: str,
        read_test_images: Callable[[], np.ndarray],
        axes: tuple[int, int] = (0, 1),
    ):
        self._read_weights, self._read_test_images = read_weights, read_test_images
        self.dataset, self.axes = dataset, axes
        self.image_shape = DATASETS[dataset].image_shape

    @cached_property
    def networks(self) -> TrainedModel:
        """Encoder and decoder."""
        return TrainedModel(self._read_weights())

    @cached_property
    def x_test(self) -> np.ndarray:
        """The test images [n, D]; raises ExplorerError where they are not on this machine."""
        return self._read_test_images()

    @property
    def n_latent(self) -> int:
        """The dimensionality of z."""
        return self.networks.n_latent

    def plane(self, z: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
        """Decoder means [MAP_SIDE^2, D] over two axes of the latent space, the other coordinates as in z."""
        points = np.repeat(z[None], MAP_SIDE**2, axis=0)
        points[:, list(axes)] = plane.unit_square(MAP_SIDE)
        return self.networks.decode(points)

    def check_point(self, z: np.ndarray) -> None:
        """Raise ExplorerError for a point that is not within reach."""
        if z.shape != (self.n_latent,):
            raise ExplorerError(f"z has {z.size} coordinates, but this model has {self.n_latent} latent dimensions.")
        if not np.all(np.abs(z) <= LIMIT):
            raise ExplorerError(f"z = {np.round(z, 2).tolist()} is out of range: coordinates are within ±{LIMIT:g}.")

    def test_image(self, index: int) -> np.ndarray:
        """The test image x [D]; raises ExplorerError for one that does not exist, or is not on this machine."""
        if not 0 <= index < len(self.x_test):
            raise ExplorerError(f"There is no test image {index}: they are numbered 0 to {len(self.x_test) - 1}.")
        return self.x_test[index]

    def bound(self, x: np.ndarray) -> float:
        """The lower bound of one image [nats], the mean over N_BOUND_SAMPLES samples of z."""
        eps = np.random.default_rng(0).standard_normal((N_BOUND_SAMPLES, self.n_latent), np.float32)
        return self.networks.bound(x, eps)

    def pixels(self, images: np.ndarray, n_columns: int) -> np.ndarray:
        """Images [n, D] side by side as RGB bytes."""
        grey = np.clip(pictures.tile(images, n_columns, self.image_shape), 0, 1)
        return (255 * plt.colormaps[pictures.INK.get(self.dataset, "gray")](grey)[..., :3]).astype(np.uint8)


def recorded_models(plan: Plan) -> dict[str, Model]:
    """A model for each recorded run that a notebook decodes, by a name to choose it; those of MNIST first.

    Raises RecordError for those of a run that is recorded beyond what is asked for.
    """
    folder = paths.runs(plan.profile)
    models = {}
    for run in sorted(experiments.decoded(plan), key=lambda run: (run.dataset != "mnist", run.dataset, run.n_latent)):
        if run.n_latent < 2 or not (folder / run.run_id / records.WEIGHTS).exists():  # the map has two axes
            continue
        record = records.load(run, folder)
        if record is None:
            continue
        across, up = sorted(np.argsort(record.kl_per_dimension)[-2:].tolist())  # the most used
        models[f"{names.DATASETS[run.dataset]}, {run.n_latent} latent dimensions"] = Model(
            partial(records.load_weights, run, folder),
            run.dataset,
            partial(_test_images, run.dataset, run.preparation),
            (across, up),
        )
    return models


@cache
def _test_images(name: str, preparation: str) -> np.ndarray:
    dataset = data.load_local(name, preparation)
    if dataset is None:  # an error is not kept: what is fetched meanwhile is found at the next call
        raise ExplorerError(NO_DATA)
    return dataset.x_test


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
        self.map, self.overlay = widgets.Image(format="png"), widgets.HTML()
        self.decoded = self._picture(IMAGE_HEIGHT)
        self.axes = [widgets.Dropdown(description=name) for name in ("across", "up")]
        self.sliders = [self._slider(), self._slider()]
        self.numbers = [self._number(), self._number()]
        self.elsewhere = widgets.Button(description="new random z")
        self.index = widgets.IntText(0, description="test image", layout=widgets.Layout(width="12em"))
        self.look = widgets.Button(description="show", layout=widgets.Layout(width="6em"))
        self.pair = self._picture(IMAGE_HEIGHT // 2)
        self.status = widgets.HTML()
        self._say(WELCOME)
        self.link = widgets.HTML(layout=widgets.Layout(display="none" if query is None else None))
        self.shown: int | None = None  # the test image
        self._updating = False
        self._connect()
        self.select(next(iter(models)))
        self._answer(self.visit)(query or "")
        self.view = self._arrange()

    def _arrange(self) -> widgets.VBox:
        """Controls beside the map, or below it where the page is narrow."""
        area = widgets.Box([self.map, self.overlay])
        area.add_class("explorer-map")
        points = [widgets.HBox(list(pair)) for pair in zip(self.sliders, self.numbers, strict=True)]
        controls = [self.choice, *self.axes, *points, self.elsewhere, self.decoded]
        controls += [widgets.HBox([self.index, self.look]), self.pair]
        column = widgets.VBox(controls, layout=widgets.Layout(max_width="100%"))
        both = widgets.HBox([area, column], layout=widgets.Layout(flex_flow="row wrap", align_items="flex-start"))
        return widgets.VBox([widgets.HTML(STYLE, layout=widgets.Layout(height="0")), both, self.status, self.link])

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
        self.shown, self.pair.layout.display = None, "none"
        self._say(WELCOME)
        self._jump(np.zeros(self.model.n_latent, np.float32))

    def move(self, z: np.ndarray) -> None:
        """Go to a point z [n_latent] and show its decoder mean; raises ExplorerError for one out of range."""
        z = np.asarray(z, np.float32)
        self.model.check_point(z)
        self.z = z
        with self._update():
            for slider, number, axis in zip(self.sliders, self.numbers, self._plane, strict=True):
                slider.value = float(np.clip(norm.cdf(z[axis]), LOWEST, HIGHEST))
                number.value, slider.description = round(float(z[axis]), 2), f"z{axis + 1}"
        self.decoded.value = self._enlarged(self.model.networks.decode(z)[None])
        self._point_out()
        self.link.value = LINK.format(html.escape(self.query))

    @property
    def query(self) -> str:
        """The model, the axes of the map, the point and the test image, as the address of the app has them."""
        axes = ",".join(str(axis + 1) for axis in self._plane)
        z = ",".join(f"{value:.2f}" for value in self.z)
        image = {} if self.shown is None else {"image": self.shown}
        return urlencode({"model": self.choice.value, "axes": axes, "z": z, **image}, safe=",")

    def visit(self, query: str) -> None:
        """Go to the view of an address; raises ExplorerError for one that does not exist."""
        asked = dict(parse_qsl(query))
        if "model" not in asked:
            return
        self.select(asked["model"])
        try:
            across, up = (int(axis) - 1 for axis in asked["axes"].split(","))
            z = np.array(asked["z"].split(","), np.float32)
            image = int(asked["image"]) if "image" in asked else None
        except (KeyError, ValueError):
            raise ExplorerError("The address needs two axes and a point z, and of a test image its number.") from None
        self.model.check_point(z)
        if across == up or not {across, up} <= set(range(self.model.n_latent)):
            raise ExplorerError(f"The address needs two different axes from 1 to {self.model.n_latent}.")
        with self._update():
            self.axes[0].value, self.axes[1].value = across, up
        self._jump(z)
        if image is not None:
            self.show_test_image(image)
            self._jump(z)

    def show_test_image(self, index: int) -> None:
        """Show a test image and its reconstruction, go where it lands, and say its bound."""
        x = self.model.test_image(index)
        mean, _ = self.model.networks.encode(x)
        self.pair.value = self._enlarged(np.stack([x, self.model.networks.decode(mean)]))
        with self._update():
            self.index.value = index
        self.shown, self.pair.layout.display = index, None
        self._jump(np.clip(mean, -LIMIT, LIMIT))
        lands = ", ".join(f"{value:.2f}" for value in mean[list(self._plane)])
        self._say(
            f"Test image {index} lands at ({lands}); its bound is {self.model.bound(x):.1f} nats. "
            "Left: the image, right: its reconstruction."
        )

    def _connect(self) -> None:
        """Let every widget call its action; an impossible request is answered in the status line."""
        self.choice.observe(self._answer(lambda _: self.select(self.choice.value)), "value")
        self.index.observe(self._answer(lambda _: self.show_test_image(self.index.value)), "value")
        self.look.on_click(self._answer(lambda _: self.show_test_image(self.index.value)))
        for i in range(2):
            self.sliders[i].observe(self._answer(partial(self._follow_slider, i)), "value")
            self.numbers[i].observe(self._answer(partial(self._follow_number, i)), "value")
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
            self.status.value = self._said  # an error stands until the next action
            try:
                action(*event)
            except ReplicationError as error:
                self.status.value = f"<b>{html.escape(str(error))}</b>"

        return handler

    def _say(self, sentence: str) -> None:
        self._said = self.status.value = sentence

    def _follow_slider(self, i: int, _: object) -> None:
        self._set(i, float(norm.ppf(self.sliders[i].value)))

    def _follow_number(self, i: int, _: object) -> None:
        self._set(i, self.numbers[i].value)

    def _set(self, i: int, value: float) -> None:
        z = self.z.copy()
        z[self._plane[i]] = value
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
        size = np.array(self._map_size) - 2 * MARGIN
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
        """For a quantile of the prior, so that half of its way is where half of the prior is."""
        layout = widgets.Layout(width="18em")
        return widgets.FloatSlider(min=LOWEST, max=HIGHEST, step=0.001, value=0.5, readout=False, layout=layout)

    @staticmethod
    def _number() -> widgets.BoundedFloatText:
        """For the value of z itself."""
        return widgets.BoundedFloatText(min=-LIMIT, max=LIMIT, step=STEP, layout=widgets.Layout(width="5.5em"))

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
        drawn = ImageOps.expand(pixels.resize(size, Image.Resampling.LANCZOS), MARGIN, "white")
        self._map_size = drawn.size
        self.map.value, self.map.layout.width = _as_png(drawn), f"{drawn.width}px"

    def _point_out(self) -> None:
        """Where the point is on the map."""
        across, up = norm.cdf(self.z[list(self._plane)])
        width, height = self._map_size
        left = (MARGIN + across * (width - 2 * MARGIN)) / width
        top = (MARGIN + (1 - up) * (height - 2 * MARGIN)) / height
        names_of_axes = (f"z<sub>{axis + 1}</sub>" for axis in self._plane)
        self.overlay.value = OVERLAY.format(
            left=left, top=top, **dict(zip(("across", "up"), names_of_axes, strict=True))
        )

    def _enlarged(self, images: np.ndarray) -> bytes:
        pixels = Image.fromarray(self.model.pixels(images, len(images)))
        scale = IMAGE_HEIGHT // pixels.height
        return _as_png(pixels.resize((pixels.width * scale, pixels.height * scale), Image.Resampling.NEAREST))


def _as_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "png", compress_level=1)
    return stream.getvalue()

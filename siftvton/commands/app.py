"""Open the try-on page: persons and garments in, results out, in the browser."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siftvton.commands import Command
from siftvton.data.config import PictureSize
from siftvton.options import option
from siftvton.prepare.config import ModelsConfig, PhotoConfig
from siftvton.sampling.config import ExecutionConfig, SamplingConfig, WeightChanges

RESULTS = "results"  # folder below the output


@dataclass
class App(WeightChanges, SamplingConfig):
    """Open the try-on page in the browser: photo and garment in, result out."""

    checkpoint: str = option(
        "outputs/train/model",
        "weights to use: a saved pipeline's folder, a published .ckpt or .safetensors file, or a Hugging Face "
        "repository",
        path=True,
    )
    data: PictureSize = field(default_factory=PictureSize)
    photo: PhotoConfig = field(default_factory=PhotoConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    gallery: str | None = option(
        None,
        "data folder whose first test persons and garments the page offers; null: drawn persons",
        path=True,
    )
    host: str = option("127.0.0.1", "address to listen on; 127.0.0.1: only this computer; 0.0.0.0: the whole network")
    port: int | None = option(None, "port to listen on; null: the first free one from 7860", minimum=1, maximum=65535)
    open_browser: bool = option(True, "open the page in the default browser")
    upload_megabytes: int = option(20, "largest uploaded file, in millions of bytes", minimum=1, maximum=1000)
    upload_megapixels: int = option(40, "largest uploaded picture, in millions of pixels", minimum=1, maximum=1000)
    keep: bool = option(
        False, "keep each result with its settings in the output folder; uploads are removed at the end in any case"
    )
    output: str = option("outputs/app", "folder for drawn persons, temporary files and kept results", path=True)


def app(config: App) -> str:
    """Serve the page until it is stopped.

    Raises:
        InputError: the checkpoint or the gallery cannot be read.
        UsageError: the size does not fit the network, or the server cannot listen on this host and port.
    """
    from siftvton.app.server import free_port, serve, temporary_files

    output, port = Path(config.output), free_port(config.host, config.port)
    with temporary_files(output) as temporary:
        from siftvton.app.actions import Actions
        from siftvton.app.gallery import gallery_of, toy_gallery
        from siftvton.app.page import page_of
        from siftvton.app.tryon import TryOn
        from siftvton.app.uploads import UploadLimits
        from siftvton.data.layouts import AUTO, layout_of
        from siftvton.settings import save_configuration

        tryon = TryOn(
            config.checkpoint,
            *config.data.size,
            changes=config,
            sampling=config.alone(),
            execution=config.execution,
            photo=config.photo,
            models=config.models,
        )
        if config.gallery is None:
            gallery = toy_gallery(output / "gallery")
        else:
            gallery = gallery_of(layout_of(AUTO, config.gallery).split("test"))
        actions = Actions(
            tryon,
            gallery,
            UploadLimits(config.upload_megabytes, config.upload_megapixels),
            _weights(config),
            temporary,
            output / RESULTS if config.keep else None,
            config.photo.category,
        )
        page = page_of(actions, _about(config))
        save_configuration(config, output / "app.yaml")
        serve(page, config.host, port, config.upload_megabytes, config.open_browser)
    return ""


def _weights(config: App) -> dict[str, Any]:
    """Return what the downloaded settings say about the weights."""
    from siftvton.sampling.changes import digests

    used: dict[str, Any] = {"checkpoint": config.checkpoint}
    if config.autoencoder:
        used["autoencoder"] = config.autoencoder
    if config.lora:
        used |= {"lora": config.lora, "lora_weight": config.lora_weight}
    return used | digests(config.checkpoint, config)


def _about(config: App) -> str:
    """Return what the page says below its title."""
    from siftvton.key_values import ROOT

    text = "Choose a person and a garment, check the tinted area, then press **Try it on**."
    if Path(config.checkpoint) == ROOT / "checkpoints" / "toy":
        text += (
            " This is the shipped toy network: it knows only drawn persons in tops, and paints "
            f"{config.data.width}×{config.data.height} pixels."
        )
    if config.keep:
        return f"{text} Results are kept in {config.output}/{RESULTS}."
    return f"{text} Pictures stay on the computer that runs this page, and are removed when it ends."


COMMAND = Command(App, app, "toy.yaml")

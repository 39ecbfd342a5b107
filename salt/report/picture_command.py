"""The frame of commands that draw one picture of the finished run below data/, for the docs."""

from collections.abc import Callable
from pathlib import Path

from salt.errors import ParameterError
from salt.files import read_csv, replacing
from salt.report.run import Run, open_run


def write_picture(arguments: list[str], example: str, draw: Callable[[Run], bytes]) -> None:
    """Write the PNG that `draw` makes of the run to the only argument.

    `example` is how the command is called, for the message.

    Raises:
        ParameterError: not exactly one path was given.
        StoreError: the pipeline has not finished, or `draw` found nothing to show.
    """
    if len(arguments) != 1:
        raise ParameterError(
            f"got {len(arguments)} arguments; expected the PNG to write. Call `{example}`."
        )
    data = Path("data")
    folds = sorted(read_csv(data / "ensemble/oof_tiles.csv")["fold"].unique().tolist())
    picture = draw(open_run(data, folds))
    with replacing(Path(arguments[0])) as part:
        part.write_bytes(picture)

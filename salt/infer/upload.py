"""Upload a submission through Kaggle's own client, which keeps the user's token itself."""

import shutil
import subprocess
from pathlib import Path

from salt.errors import MissingPackageError, SubmissionError

COMPETITION = "tgs-salt-identification-challenge"


def upload(path: Path, message: str) -> str:
    """Submit a file to the competition and return what the client says.

    Raises:
        MissingPackageError: Kaggle's client is not installed.
        SubmissionError: it refused, for want of a token or of a network, say.
    """
    client = shutil.which("kaggle")
    if client is None:
        raise MissingPackageError(
            f"{path}: no command `kaggle` to upload with; expected Kaggle's own client. "
            "Run `pip install kaggle` and set up its token, or upload the file in a browser."
        )
    command = [client, "competitions", "submit", COMPETITION, "-f", str(path), "-m", message]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = " ".join(f"{done.stdout} {done.stderr}".split())
    if done.returncode:
        raise SubmissionError(
            f"{path}: Kaggle's client failed with code {done.returncode} ({said[-300:]}); expected "
            "an upload. Mend what it names and try again."
        )
    return said

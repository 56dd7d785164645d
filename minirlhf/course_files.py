"""Where the notebooks and the shipped checkpoints are: in a clone, or inside an installed wheel."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def course_folder(name: str) -> Path:
    """The folder `notebooks` or `assets`.

    Raises:
        ValueError: it is neither beside the package (a clone) nor inside it (a wheel).
    """
    in_a_clone = (PACKAGE.parent / "pyproject.toml").is_file()
    folder = PACKAGE.parent / name if in_a_clone else PACKAGE / "_course" / name
    if folder.is_dir():
        return folder
    raise ValueError(f"the folder {name} of the course is missing; install minirlhf again")

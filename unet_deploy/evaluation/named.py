"""What a data set's own file calls the numbers of its masks, and whether that fits what they are read as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unet_deploy.annotations.classes import listed_names
from unet_deploy.errors import DataError


@dataclass(frozen=True)
class NamedLabels:
    """The classes of a data set that says what its masks hold."""

    file: Path
    """That says it."""
    names: tuple[str, ...]
    """Of the numbers from 0 on, the background first."""

    def check_numbers(self, mask: str, numbers: Sequence[int]) -> None:
        """Raise DataError for a mask with a number that has no name."""
        if strange := [number for number in numbers if number >= len(self.names)]:
            known = ", ".join(f"{number} {name}" for number, name in enumerate(self.names))
            raise DataError(
                f"{mask}: label {strange[0]} is not in {self.file} ({known}); name it there, or mend the mask"
            )

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raise DataError where masks would be read as other classes than the file says.

        Names may be others, in the same order; classes that no mask has may follow.

        >>> NamedLabels(Path("dataset.json"), ("background", "nerve")).check_classes(["background", "cell"])
        >>> NamedLabels(Path("dataset.json"), ("background", "nerve")).check_classes(["nerve", "background"])
        Traceback (most recent call last):
            ...
        unet_deploy.errors.DataError: dataset.json: 'background' is label 0, but class 1 of nerve, background; \
name classes in the order of its labels
        """
        ours, theirs = ([name.casefold() for name in names] for names in (classes, self.names))
        said = listed_names(classes)
        for number, name in enumerate(theirs):
            if name in ours and ours.index(name) != number:
                raise DataError(
                    f"{self.file}: {self.names[number]!r} is label {number}, but class {ours.index(name)} of {said}; "
                    "name classes in the order of its labels"
                )
        if len(theirs) != len(ours) and theirs != ours[: len(theirs)]:
            raise DataError(
                f"{self.file}: has labels {listed_names(self.names)}, but the classes are {said}; they must be as many"
            )

    def note(self, classes: Sequence[str]) -> str | None:
        """Say which names are taken for which, where there are several and they are others."""
        same = [name.casefold() for name in self.names] == [name.casefold() for name in classes[: len(self.names)]]
        if same or len(self.names) == 2:
            return None
        return f"note: labels {listed_names(self.names)} of {self.file} are taken for {listed_names(classes)}"
